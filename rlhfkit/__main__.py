"""`python -m rlhfkit` and `accelerate launch -m rlhfkit` are the `rlhfkit` command."""

from rlhfkit.commands.main import main

if __name__ == "__main__":
    main()
