import shutil

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.bulk.served_export import ServedExport, read_export
from deml_tf.errors import DataError, UsageError
from deml_tf.serving.proof_images import drawn_images


def test_reads_what_an_export_says(exported):
    found = read_export(exported)
    assert (found.model, found.version, found.precision) == ("birds", 3, "float32")
    assert (found.embedding_dim, found.scales, found.threshold) == (24, 1, 0.75)
    assert found.weights_sha256 == "5" * 64
    assert found.preprocessing == {"fit": "stretch", "resize_size": 48}


def test_an_export_without_a_threshold(about, tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert read_export(about(tmp_path, threshold={"cosine": None})).threshold is None


def test_gives_what_the_signature_gives(exported):
    encoded = [*drawn_images(2), b"none", *drawn_images(3)[2:]]
    found = ServedExport(read_export(exported))(encoded)
    model = tf.saved_model.load(str(exported))
    expected = model.signatures["serving_default"](tf.constant(encoded))
    assert found.valid.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(found.embedding, expected["embedding"])
    np.testing.assert_array_equal(found.boxes, np.reshape(expected["boxes"], (4, 4)))


def test_folders_that_are_no_export(exported, tmp_path):
    with pytest.raises(UsageError, match=f"^export={tmp_path}/no is no folder: name"):
        read_export(tmp_path / "no")
    with pytest.raises(UsageError, match="holds no SavedModel"):
        read_export(tmp_path)
    with pytest.raises(UsageError, match=f"name one of them, such as {exported}"):
        read_export(exported.parent)
    with pytest.raises(UsageError, match=r"^export=birds\[1\] holds \*, \?, \[ or"):
        read_export("birds[1]")
    (tmp_path / "deml.json").touch()
    with pytest.raises(UsageError, match="is an export for another runtime"):
        read_export(tmp_path)


def test_exports_without_a_description(about, tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(DataError, match="deml.json cannot be read .No such file"):
        read_export(tmp_path)
    for changes, words in (
        ({"embedding": {"size": 24}}, "'parts' is missing"),
        ({"threshold": None}, "is not what an export writes"),
        ({"version": "two"}, "invalid literal"),
    ):
        with pytest.raises(DataError, match=words):
            read_export(about(tmp_path, **changes))
    (tmp_path / "assets.extra" / "deml.json").write_text("{")
    with pytest.raises(DataError, match="is not what an export writes"):
        read_export(tmp_path)


def test_a_model_that_is_not_the_described_one(exported, about, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "1")
    parts = {"scales": 2, "learners": 2, "size": 12}
    about(folder, embedding={"size": 48, "parts": parts})
    with pytest.raises(DataError, match=r"outputs of shapes .*24.*48"):
        ServedExport(read_export(folder))


def test_a_model_that_cannot_be_loaded(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "1")
    (folder / "saved_model.pb").write_bytes(b"none")
    with pytest.raises(DataError, match=f"^{folder} cannot be loaded"):
        ServedExport(read_export(folder))
    shutil.copy(exported / "saved_model.pb", folder)
    next(folder.glob("variables/*.data*")).write_bytes(b"")
    with pytest.raises(DataError, match=f"^{folder} cannot be loaded"):
        ServedExport(read_export(folder))
    shutil.rmtree(folder / "variables")
    with pytest.raises(DataError, match=f"^{folder} cannot be loaded"):
        ServedExport(read_export(folder))
