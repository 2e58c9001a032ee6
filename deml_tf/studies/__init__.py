"""Studies: variants of a training, each with several seeds, and what their runs say."""
