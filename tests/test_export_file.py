"""Exports for LiteRT and ONNX, as far as they are published or refused."""

import json

import pytest

from deml_tf import export
from deml_tf.errors import DataError, UsageError
from deml_tf.models.embedder import build_deml
from deml_tf.serving import onnx_format

CHOICE = export.Choice((0,), (0,), "float32", 0.01, 0)


@pytest.fixture(scope="module")
def source():
    sizes = {"width": 0.25, "input_size": 40, "resize_size": 48, "output_stride": 16}
    embedder = build_deml(scales=1, learners=1, weights="none", **sizes)
    return export.Source("birds", embedder)


@pytest.mark.slow
def test_a_file_and_its_description(source, tmp_path, capsys):
    target = tmp_path / "birds" / "onnx" / "1"
    export.FORMATS["onnx"](source, CHOICE, target)
    assert "images_float" in capsys.readouterr().out
    assert sorted(f.name for f in target.iterdir()) == ["deml.json", "model.onnx"]
    described = json.loads((target / "deml.json").read_text())
    assert described["name"] == "birds" and described["format"] == "onnx"
    assert described["runtime"]["onnxruntime"]
    size = (target / "model.onnx").stat().st_size
    assert described["file_bytes"] == {"model.onnx": size}
    assert described["signatures"]["images_float"]["inputs"] == {
        "images": {"dtype": "float32", "shape": [None, 48, 48, 3]}
    }
    assert described["preprocessing"]["resize_size"] == 48
    (embedding,) = (p for p in described["parity"] if p["output"] == "embedding")
    assert embedding["run_by"] == "onnxruntime"
    assert all(0 <= d < 1e-5 for d in embedding["by_batch_size"].values())


@pytest.mark.slow
def test_what_differs_is_not_published(source, monkeypatch, tmp_path):
    write = onnx_format.write_onnx

    def perturbed(servable, path):
        kernel = next(v for v in servable.kept_variables() if v.shape.rank == 4)
        kept = kernel.numpy()
        kernel.assign(kept * 1.01)
        write(servable, path)
        kernel.assign(kept)

    monkeypatch.setattr(onnx_format, "write_onnx", perturbed)
    named = r"signature images_float, onnxruntime loader, batch size \d+, output emb"
    with pytest.raises(DataError, match=f"nothing was published: {named}"):
        export.export_file("onnx", source, CHOICE, tmp_path / "birds" / "onnx" / "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("onnx", None, "dynamic_int8"), "--quantize=dynamic_int8 is for --format=li"),
        (("saved_model", None, "dynamic_int8"), "--quantize=dynamic_int8"),
        (("litert", "bfloat16", "none"), "--precision=bfloat16: --format=litert"),
        (("onnx", "bfloat16", "none"), "--precision=bfloat16: --format=onnx"),
    ],
)
def test_flags_that_do_not_go_together(flags, sentence):
    with pytest.raises(UsageError, match=sentence):
        export.check_format(*flags)


def test_missing_extra(monkeypatch):
    for flags in (("litert", "float32", "dynamic_int8"), ("onnx", None, "none")):
        export.check_format(*flags)
    monkeypatch.setattr(export.extras.importlib.util, "find_spec", lambda name: None)
    export.check_format("saved_model", "bfloat16", "none")
    with pytest.raises(UsageError, match=r"--format=onnx .*'deml_tf\[onnx\]'"):
        export.check_format("onnx", None, "none")
