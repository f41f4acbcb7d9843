"""Which stage runs, is skipped or refused, and what is checked before."""
