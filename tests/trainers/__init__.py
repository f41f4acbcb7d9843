"""Tests of training, its optimizers and how it resumes."""
