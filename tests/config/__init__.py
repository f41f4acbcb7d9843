"""Tests of the options and what users are told of them."""
