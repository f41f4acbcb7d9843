"""Tests of the built-in plugins, a folder a group."""
