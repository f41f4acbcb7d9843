"""Malformed input by the hundred: a module per kind of input makes the cases, a test beside it
asks for each case's outcome, a line that names what is wrong or a drop that is counted.

Cases are the same in every run; one alone: `pytest tests/fuzz -k "<id>"`.
"""
