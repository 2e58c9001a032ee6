"""From images on disk to batches: catalog, splits, batches, images, plumage."""
