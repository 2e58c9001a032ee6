"""Warm-up: requests that a server replays itself before it accepts those of clients."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from deml_tf.errors import UsageError

FILE = "tf_serving_warmup_requests"  # in assets.extra, the server's own name for it
MOST_REQUESTS = 1000  # the server refuses more
BATCH_SIZES = (1, 8)


def check_warmup(requests: int) -> None:
    """Refuse, before long work, requests that cannot be written.

    Args:
        requests: Number of requests of each batch size.

    Raises:
        UsageError: There are too many, or the messages' definitions are not installed.
    """
    most = MOST_REQUESTS // len(BATCH_SIZES)
    if not 0 <= requests <= most:
        raise UsageError(
            f"warmup_requests={requests}: TensorFlow Serving replays at most "
            f"{MOST_REQUESTS}, so give 0 to {most}; there are that many of each batch "
            f"size, {' and '.join(map(str, BATCH_SIZES))}."
        )
    if requests:
        _messages()


def write_warmup(
    path: str | os.PathLike[str], model: str, images: Sequence[bytes], requests: int
) -> int:
    """Write requests to `serving_default` as a TFRecord of PredictionLog.

    Args:
        path: The file; its folder is made if it is missing.
        model: The model's name on the server.
        images: Encoded images, at least one; they are taken in turn.
        requests: Number of requests of each of the `BATCH_SIZES`.

    Returns:
        The number of requests written.

    Raises:
        UsageError: As `check_warmup`.
    """
    check_warmup(requests)
    if not requests:
        return 0
    predict_pb2, prediction_log_pb2 = _messages()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    turns = itertools.cycle(images)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for batch_size in BATCH_SIZES * requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = "serving_default"
            batch = list(itertools.islice(turns, batch_size))
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(batch))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
    return requests * len(BATCH_SIZES)


def _messages():
    """Import the messages' definitions, from the extra that also holds the client."""
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise UsageError(
            "Warm-up requests need TensorFlow Serving's messages, which are not "
            "installed: pip install deml_tf[client], or give warmup_requests=0."
        ) from error
    return predict_pb2, prediction_log_pb2
