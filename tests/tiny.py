"""Arguments of `build_deml` for an embedder that is built in a second."""

TINY = {
    "weights": "none",
    "width": 0.25,
    "input_size": 40,
    "resize_size": 48,
    "output_stride": 16,
    "embedding_dim": 24,
}
