"""Tests of which stages run, and of what is refused before."""
