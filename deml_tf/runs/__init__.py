"""A training run's folder: what is in it, written so that a kill leaves it whole."""
