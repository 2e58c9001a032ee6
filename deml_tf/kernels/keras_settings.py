"""The settings of Keras that the package relies on, whatever a keras.json says."""

import os
import sys
import warnings

_FORMAT, _FLOATX, _EPSILON = "channels_last", "float32", 1e-7


def pin_keras() -> None:
    """Have Keras compute as the package needs it: on TensorFlow, in float32.

    Without this a keras.json in the user's home folder, or KERAS_BACKEND, would decide.
    What a program set before it imported the package is replaced, with a warning.

    Raises:
        ImportError: Keras runs on another backend already, or its settings are wrong.
    """
    is_first = "keras" not in sys.modules
    if is_first:
        os.environ["KERAS_BACKEND"] = "tensorflow"  # wins over keras.json
    try:
        import keras
    except ValueError as error:
        raise ImportError(
            f"Keras does not accept its keras.json ({error}): mend or remove that file."
        ) from error
    config = keras.config
    if config.backend() != "tensorflow":
        raise ImportError(
            f"Of deml_tf only the losses run on {config.backend()}, which Keras runs "
            "on: import deml_tf before keras, or set KERAS_BACKEND=tensorflow."
        )
    found = (config.image_data_format(), config.floatx(), config.epsilon())
    if found == (_FORMAT, _FLOATX, _EPSILON):
        return
    config.set_image_data_format(_FORMAT)
    config.set_epsilon(_EPSILON)
    if config.floatx() != _FLOATX:
        config.set_floatx(_FLOATX)
        config.set_dtype_policy(_FLOATX)
    if not is_first:
        warnings.warn(
            f"deml_tf sets Keras to {_FORMAT}, {_FLOATX} and an epsilon of {_EPSILON:g}"
            f"; it had {', '.join(map(str, found))}.",
            stacklevel=3,
        )
