"""From a trained embedder to a model that a server runs."""
