"""Tests of rlhfkit_plugins.quickstart: the packaged rows, and the model without the hub."""
