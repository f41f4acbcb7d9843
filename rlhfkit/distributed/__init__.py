"""Several processes: what they share, and models in shares."""
