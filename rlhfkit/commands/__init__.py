"""How a user comes in: the command line and what its words do."""
