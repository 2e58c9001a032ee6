"""Copy a layer under another name, with another type and seeds of its own."""

import zlib
from dataclasses import dataclass
from typing import Any

import keras

_PIXELS = (keras.layers.Rescaling, keras.layers.Normalization)


@dataclass(frozen=True)
class LayerCopy:
    """Makes the layers of one copy of a network.

    Attributes:
        prefix: What the names of all layers begin with.
        seed: Seed of the random weights. Layers are seeded by their names without the
            prefix, so that all copies start equal.
        momentum: Momentum of every BatchNorm.
        dtype: Policy of all layers but those that normalise the pixels.
    """

    prefix: str
    seed: int
    momentum: float
    dtype: keras.DTypePolicy

    def __call__(self, operation: keras.Operation, name: str) -> keras.Operation:
        """Copy an operation.

        Args:
            operation: A layer, or an operation without weights (`x + y`).
            name: Its new name, without the prefix.

        Returns:
            The copy. Its weights come from its initializers; initializers and dropout
            layers that have a seed keep it.
        """
        config: dict[str, Any] = operation.get_config() | {"name": self.prefix + name}
        if isinstance(operation, keras.layers.Layer):
            # bfloat16 cannot tell the pixels 200.0 and 200.5 apart.
            exact = isinstance(operation, _PIXELS)
            config["dtype"] = "float32" if exact else self.dtype
            _seed(config, f"{self.seed} {name}")
        if "momentum" in config:
            config["momentum"] = self.momentum
        if _is_depthwise(operation):
            return keras.layers.DepthwiseConv2D.from_config(_depthwise(config))
        return type(operation).from_config(config)


def _seed(config: dict[str, Any], name: str) -> None:
    """Seed a layer's dropout and each of its initializers by a name."""
    if config.get("seed", 0) is None:
        config["seed"] = zlib.crc32(name.encode())
    for key, value in config.items():
        if key.endswith("_initializer"):
            settings = (value or {}).get("config", {})
            if settings.get("seed", 0) is None:
                settings["seed"] = zlib.crc32(f"{name} {key}".encode())


def _is_depthwise(operation: Any) -> bool:
    """Tell whether a convolution has one group per channel, as ConvNeXt's have."""
    if not isinstance(operation, keras.layers.Conv2D):
        return False
    source: Any = operation.input
    return 1 < operation.groups == operation.filters == source.shape[-1]


def _depthwise(config: dict[str, Any]) -> dict[str, Any]:
    """Turn the config of a convolution in groups into that of a depthwise one.

    On a CPU Keras compiles grouped ones with XLA, which takes minutes in training.
    """
    return {
        key.replace("kernel_", "depthwise_") if key != "kernel_size" else key: value
        for key, value in config.items()
        if key not in ("groups", "filters")
    }
