"""Tests of rlhfkit_plugins.data: real files, literal rows, every error as the user reads it."""
