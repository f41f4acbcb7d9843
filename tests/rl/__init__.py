"""Tests of rlhfkit.rl: literal values worked out by hand, identities, plain-loop references."""
