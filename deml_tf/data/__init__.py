"""From images on disk to batches: data sets, splits, checks, decoding, batches."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deml_tf.data.pk_sampler import PKSampler
else:

    def __getattr__(name: str):
        """Import on first use, so that a client reads files without TensorFlow."""
        if name == "PKSampler":
            from deml_tf.data.pk_sampler import PKSampler

            return PKSampler
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["PKSampler"]
