"""The way to a server over gRPC."""

from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from deml_tf.client.failures import ServerError
from deml_tf.client.target import INPUT, Target
from deml_tf.client.transport import OUTPUTS, Outputs, checked

# Their classes are made at import, which type checkers do not see.
_predict: Any = predict_pb2
_metadata: Any = get_model_metadata_pb2
_OPTIONS = [
    # gRPC's own limit of 4 MB is that of one photograph.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Else a channel waits up to two minutes before it looks for a restarted server,
    # and fails every request meanwhile.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A connection of its own for each client of a process.
    ("grpc.use_local_subchannel_pool", 1),
]


class GrpcTransport:
    """A channel to a server; many threads may use it.

    Args:
        target: Whom to ask.
    """

    def __init__(self, target: Target):
        self._target = target
        self._channel = grpc.insecure_channel(target.server, _OPTIONS)
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(self, images: list[bytes], timeout: float) -> Outputs:
        """Embed encoded images.

        Args:
            images: b files' contents.
            timeout: Seconds, after which the server drops the request too.

        Raises:
            ServerError: It failed.
        """
        request = _predict.PredictRequest(output_filter=OUTPUTS)
        self._specify(request.model_spec)
        request.model_spec.signature_name = self._target.signature
        request.inputs[INPUT].CopyFrom(tf.make_tensor_proto(images, tf.string))
        response = self._call(self._service.Predict, request, timeout)
        arrays = {name: array_of(t) for name, t in response.outputs.items()}
        return checked(arrays, len(images))

    def signatures(self, timeout: float) -> dict[str, set[str]]:
        """Return the names of each signature's inputs.

        Args:
            timeout: Seconds.

        Raises:
            ServerError: It failed.
        """
        request = _metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._specify(request.model_spec)
        response = self._call(self._service.GetModelMetadata, request, timeout)
        found = _metadata.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return {name: set(s.inputs) for name, s in found.signature_def.items()}

    def close(self) -> None:
        """Close the channel; requests under way fail."""
        self._channel.close()

    def _specify(self, spec: Any) -> None:
        spec.name = self._target.model
        if self._target.version is not None:
            spec.version.value = self._target.version
        if self._target.label is not None:
            spec.version_label = self._target.label

    @staticmethod
    def _call(method: Any, request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            status: grpc.Call = error  # type: ignore[assignment]
            raise ServerError(status.code().name, status.details()) from error
        except ValueError as error:  # "Cannot invoke RPC on closed channel!"
            raise ServerError("CANCELLED", str(error)) from error


def array_of(tensor: Any) -> np.ndarray:
    """Read a message of floats or booleans.

    Args:
        tensor: A `TensorProto` as a server sends it.

    Raises:
        ServerError: It is of another type, or does not have as many values as its
            shape.
    """
    if tensor.dtype not in (tf.float32.as_datatype_enum, tf.bool.as_datatype_enum):
        raise ServerError("INTERNAL", "an output of neither floats nor booleans came")
    try:
        values = tf.make_ndarray(tensor)
    except ValueError as error:
        raise ServerError("INTERNAL", f"an output is damaged: {error}") from error
    # TensorFlow reads zeros where no value stands: nobody's embedding.
    if values.size and not (
        tensor.tensor_content or tensor.float_val or tensor.bool_val
    ):
        raise ServerError("INTERNAL", "an output without values came")
    return values
