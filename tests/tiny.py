"""The tiny models, which plugin authors' tests use too."""

from rlhfkit.testing.tiny import *  # noqa: F403
