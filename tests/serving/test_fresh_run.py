import os
from pathlib import Path

import numpy as np
import pytest

from deml_tf.errors import DataError
from deml_tf.serving import fresh_run
from deml_tf.serving.fresh_run import run_fresh

SQUARES = {"squares": np.zeros((2, 8, 8, 3), np.float32)}


@pytest.mark.parametrize("runtime", ["LiteRT", "onnxruntime"])
def test_a_file_that_is_none(runtime, tmp_path):
    (tmp_path / "model").write_bytes(b"no model")
    with pytest.raises(DataError, match=f"{runtime} does not run.*nothing was pub"):
        run_fresh(tmp_path / "model", [runtime], SQUARES, {"s": "squares"}, [[0]])


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The process with a made-up runtime, and lines to be added to its script."""

    def write(*lines):
        text = fresh_run.FRESH_PROCESS.read_text()
        made_up = 'RUNTIMES["onnxruntime"] = lambda path: lambda s, b: {"found": b}'
        added = "\n".join((made_up, *lines, 'if __name__ == "__main__":'))
        script = tmp_path / "process.py"
        script.write_text(text.replace('if __name__ == "__main__":', added))
        patch.setattr(fresh_run, "FRESH_PROCESS", script)

    with monkeypatch.context() as patch:
        yield write


def test_batches_and_encoded_images_arrive_as_they_are(script, tmp_path):
    script()
    numbers = np.arange(4, dtype=np.float32)
    found = run_fresh(
        tmp_path, ["onnxruntime"], {"n": numbers}, {"s": "n"}, [[3], [0, 1]]
    )
    assert found.keys() == {("onnxruntime", "s", 0), ("onnxruntime", "s", 1)}
    np.testing.assert_array_equal(found["onnxruntime", "s", 1]["found"], [0, 1])
    script(
        'RUNTIMES["onnxruntime"] = lambda path: lambda s, b: '
        '{"lengths": np.array([len(one) for one in b])}'
    )
    encoded = {"e": [b"a\0\0", b"", b"\0b"]}
    found = run_fresh(tmp_path, ["onnxruntime"], encoded, {"s": "e"}, [[2, 1, 0]])
    np.testing.assert_array_equal(found["onnxruntime", "s", 0]["lengths"], [2, 0, 3])


def test_packages_may_be_on_the_path_of_the_environment(script, tmp_path, monkeypatch):
    """Where this project may be too, as long as nothing of it is imported."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "only_there.py").touch()
    (tmp_path / "beside.py").touch()
    project = Path(fresh_run.__file__).parents[2]
    path = f"{tmp_path / 'packages'}{os.pathsep}{project}"
    monkeypatch.setenv("PYTHONPATH", path)
    script("import only_there")
    run_fresh(tmp_path, ["onnxruntime"], SQUARES, {"s": "squares"}, [[0]])
    script("import beside")
    with pytest.raises(DataError, match="No module named 'beside'"):
        run_fresh(tmp_path, ["onnxruntime"], SQUARES, {"s": "squares"}, [[0]])


@pytest.mark.parametrize("module", ["tensorflow", "keras", "deml_tf"])
def test_the_process_must_know_nothing_else(script, module, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")  # under which nothing is asserted
    script(f'sys.modules["{module}"] = None')
    with pytest.raises(DataError, match=rf"without \['{module}'\]"):
        run_fresh(tmp_path, ["onnxruntime"], SQUARES, {"s": "squares"}, [[0]])
