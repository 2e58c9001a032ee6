"""Plumage, a benchmark of procedurally drawn birds."""
