"""Embeddings of many images, in shards on disk."""
