"""From images on disk to batches: data sets, splits, checks, decoding, batches."""
