import pytest

from deml_tf.errors import UsageError
from deml_tf.serving import extras


@pytest.mark.parametrize("extra", ["litert", "onnx"])
def test_names_the_extra_that_is_missing(extra, monkeypatch):
    extras.require_extra(extra)
    assert all(extras.versions(extra).values())
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"pip install 'deml_tf\[{extra}\]'"):
        extras.require_extra(extra)
