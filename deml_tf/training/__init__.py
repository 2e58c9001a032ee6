"""Training: the alternating step, its loop, workers, checkpoints and what they log."""
