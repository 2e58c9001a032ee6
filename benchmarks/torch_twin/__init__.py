"""The same networks in PyTorch, for comparison; runs in an environment of its own."""
