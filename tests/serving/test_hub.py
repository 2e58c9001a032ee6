import pytest

from deml_tf.errors import DataError
from deml_tf.serving.hub import push


def test_without_a_network(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")  # nobody's port
    said = rf"^hf://a/b did not take .* refused\): it is whole in {tmp_path}; log in"
    with pytest.raises(DataError, match=said):
        push(tmp_path, "a/b", "birds, version 1")
