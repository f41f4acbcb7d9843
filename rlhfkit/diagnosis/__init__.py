"""What went wrong in a run, told from what it stored: `rlhfkit doctor`. No torch here."""
