"""Readers of weights that others published."""
