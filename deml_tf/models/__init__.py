"""The embedder: built, loaded, cut down to some of its parts, and what it costs."""
