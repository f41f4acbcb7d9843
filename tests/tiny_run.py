"""The tiny run, which plugin authors' tests use too."""

from rlhfkit.testing.tiny_run import *  # noqa: F403
