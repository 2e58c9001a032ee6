"""What happens beside the training step: progress, journal, choice, checkpoints."""
