"""Tests of the rollout loop's parts."""
