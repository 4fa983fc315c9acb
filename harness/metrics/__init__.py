"""Errors, their intervals and tests, and probabilities from scores."""
