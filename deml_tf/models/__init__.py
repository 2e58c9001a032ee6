"""The embedder, its adversary, what trains them and what they cost."""
