"""The options of a run. No torch here."""
