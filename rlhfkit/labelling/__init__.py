"""Rankings by people and what they are worth."""
