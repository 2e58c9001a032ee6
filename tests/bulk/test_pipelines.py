"""The handlers of docs/pipelines.md give what the export gives.

Beam and Spark are not among the dependencies: what their handlers are made of stands in
for them.
"""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from deml_tf.bulk.served_export import ServedExport, read_export

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pipelines.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


def module(monkeypatch, name, **contents):
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def images(mixed):
    """Three images, the second of which is none."""
    return [(mixed / "left" / f"{n:02d}.jpg").read_bytes() for n in (1, 2, 3)]


def test_beam(exported, images, monkeypatch):
    base = "apache_beam.ml.inference.base"
    for name in ("apache_beam", "apache_beam.ml", "apache_beam.ml.inference"):
        module(monkeypatch, name)
    module(monkeypatch, base, ModelHandler=type("ModelHandler", (), {}))
    defined = {}
    exec(BLOCKS[0], defined)
    handler = defined["ExportHandler"](str(exported))
    found = [*handler.run_inference(images, handler.load_model())]
    expected = ServedExport(read_export(exported))(images)
    np.testing.assert_array_equal([e for e, _ in found], expected.embedding)
    assert [valid for _, valid in found] == [True, False, True]
    assert handler.batch_elements_kwargs()["max_batch_size"] == 32


def test_spark(exported, images, monkeypatch):
    for name in ("pyspark", "pyspark.ml", "pyspark.sql"):
        module(monkeypatch, name)
    module(
        monkeypatch,
        "pyspark.ml.functions",
        predict_batch_udf=lambda load, return_type, batch_size: load(),
    )
    array = {"ArrayType": lambda item: [item], "FloatType": lambda: float}
    module(monkeypatch, "pyspark.sql.types", **array)
    defined = {}
    exec(BLOCKS[1].replace("export/models/mine/1", str(exported)), defined)
    given = np.array([bytearray(image) for image in images], object)
    found = defined["embed"](given)
    expected = ServedExport(read_export(exported))(images).embedding
    np.testing.assert_array_equal(found, expected)
    assert np.all(found[1] == 0) and np.all(np.linalg.norm(found[[0, 2]], axis=1) > 0.9)
