"""Where layers may hand a part of theirs to XLA."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_ALLOWED = contextvars.ContextVar("compiled_parts", default=False)


@contextlib.contextmanager
def compiled_parts() -> Iterator[None]:
    """Within, layers are traced with the parts that XLA makes faster compiled.

    What trains and scores goes through here. Elsewhere layers are plain operations, so
    that an export runs where there is no XLA. The numbers agree but for rounding.
    """
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def parts_are_compiled() -> bool:
    """Whether what is traced now lies within `compiled_parts`."""
    return _ALLOWED.get()


def fused(function: Callable) -> Callable:
    """A function of tensors that XLA compiles into one kernel, for each shape once."""
    return functools.wraps(function)(
        tf.function(function, jit_compile=True, autograph=False)
    )
