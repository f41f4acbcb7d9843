"""Tests of the run on disk."""
