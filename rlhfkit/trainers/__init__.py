"""SFT and reward training on transformers' and TRL's trainers."""
