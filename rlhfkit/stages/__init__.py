"""The stages of a run, one file each, read from top to bottom."""
