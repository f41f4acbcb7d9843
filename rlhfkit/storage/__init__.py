"""The run on disk: its directory, checkpoints, states, and how it stops."""
