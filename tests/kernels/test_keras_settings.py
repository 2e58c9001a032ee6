import json
import os
import subprocess
import sys

import keras
import pytest

from deml_tf.kernels.keras_settings import pin_keras


@pytest.fixture
def as_before():
    config = keras.config
    policy, epsilon = config.dtype_policy().name, config.epsilon()
    floatx, image_format = config.floatx(), config.image_data_format()
    yield
    config.set_floatx(floatx)
    config.set_dtype_policy(policy)
    config.set_epsilon(epsilon)
    config.set_image_data_format(image_format)


def test_what_a_program_set_before_is_replaced_with_a_warning(as_before):
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("float16")
    keras.config.set_epsilon(1e-3)
    with pytest.warns(UserWarning, match="it had channels_first, float16, 0.001"):
        pin_keras()
    assert keras.config.image_data_format() == "channels_last"
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"
    assert keras.config.epsilon() == 1e-7


def test_another_policy_is_left_alone(as_before, recwarn):
    keras.config.set_dtype_policy("mixed_bfloat16")
    pin_keras()
    assert keras.config.dtype_policy().name == "mixed_bfloat16" and not recwarn


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(
        ImportError, match="only the losses run on jax, .*: import deml_tf before"
    ):
        pin_keras()


@pytest.mark.slow
def test_what_needs_tensorflow_says_so_on_another_backend():
    names = ["callbacks", "data.pk_sampler", "layers", "models.embedder"]
    code = f"""
import importlib, keras
keras.config.backend = lambda: "jax"
for name in {names}:
    try:
        importlib.import_module("deml_tf." + name)
    except ImportError as error:
        print(name, error)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    said = process.stdout.splitlines()
    assert [line.split()[0] for line in said] == names, process.stderr
    assert all("only the losses run on jax" in line for line in said)


@pytest.mark.slow
@pytest.mark.parametrize("floatx", ["float16", "int8"])
def test_no_keras_json_and_no_variable_decides(tmp_path, floatx):
    settings = {"floatx": floatx, "image_data_format": "channels_first"}
    text = json.dumps(settings | {"epsilon": 0.01, "backend": "torch"})
    (tmp_path / "keras.json").write_text(text)
    code = (
        "import deml_tf, keras; c = keras.config; "
        "print(c.backend(), c.image_data_format(), c.floatx(), c.epsilon())"
    )
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    if floatx == "int8":
        assert "ImportError: Keras does not accept its keras.json" in process.stderr
    else:
        assert process.stdout == "tensorflow channels_last float32 1e-07\n"
