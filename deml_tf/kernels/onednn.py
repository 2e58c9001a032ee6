"""oneDNN, the library of fast operations for CPUs."""

import os
import platform
import sys

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
_MEASURED = ("x86_64", "AMD64")


def prefer_onednn() -> None:
    """Have TensorFlow compute with oneDNN on x86 CPUs, whatever these can do.

    By itself TensorFlow does so on CPUs with instructions made for networks (AVX-512
    VNNI or later). With AVX2 alone, a training step of U512 on EfficientNet-Lite0 at
    112 pixels takes .62 of the time with oneDNN, as does a forward pass. The numbers
    differ by rounding.

    The environment variable TF_ENABLE_ONEDNN_OPTS decides if it is set. If a program
    has imported TensorFlow before, TensorFlow's own choice stays.
    """
    if platform.machine() in _MEASURED and "tensorflow" not in sys.modules:
        os.environ.setdefault(VARIABLE, "1")
