import sys

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.serving.warmup import check_warmup, write_warmup

prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")


def read(path):
    logs = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        logs.append(prediction_log_pb2.PredictionLog.FromString(record))
    return [log.predict_log.request for log in logs]


def test_requests_a_server_can_replay(tmp_path):
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    images = [b"a\0", b"b", b"c\xff"]
    assert write_warmup(path, "birds", images, 2) == 4
    requests = read(path)
    batches = [tf.make_ndarray(r.inputs["image_bytes"]) for r in requests]
    assert [batch.shape for batch in batches] == [(1,), (8,), (1,), (8,)]
    assert set(np.concatenate(batches)) == set(images)
    for request in requests:
        assert list(request.inputs) == ["image_bytes"]
        assert request.model_spec.name == "birds"
        assert request.model_spec.signature_name == "serving_default"


def test_none(tmp_path):
    assert write_warmup(tmp_path / "x", "birds", [b"a"], 0) == 0
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("requests", [-1, 501])
def test_too_many(requests):
    with pytest.raises(UsageError, match=f"^warmup_requests={requests}"):
        check_warmup(requests)


def test_without_the_messages(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(UsageError, match=r"pip install deml_tf\[client\]"):
        check_warmup(1)
    check_warmup(0)
