"""What stages read: sources, rows, splits, texts as tokens, what stages wrote for later ones."""
