"""Requests to a server over gRPC, and its answers."""

import math
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from deml_tf.client.failures import ServerError, WrongAnswerError
from deml_tf.client.server import Server
from deml_tf.client.target import INPUT, Target
from deml_tf.client.transport import (
    MOST_NUMBERS,
    OUTPUTS,
    Description,
    Outputs,
    check_version,
    checked,
    most_bytes,
)

# Their classes are created at import, which type checkers do not see.
_predict: Any = predict_pb2
_metadata: Any = get_model_metadata_pb2
_types: Any = types_pb2
_SERVICE = "/tensorflow.serving.PredictionService"
_FLOAT, _BOOL = _types.DT_FLOAT, _types.DT_BOOL
_OPTIONS = [
    # gRPC's default limit of 4 MB is the size of one photograph.
    ("grpc.max_send_message_length", -1),
    # Or a channel waits up to two minutes before it looks for a restarted server,
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
        target: The model to ask.
        batch_size: Images in a request, at most.
    """

    def __init__(self, target: Target, batch_size: int):
        self._target = target
        self._channel = _open(target.server, most_bytes(batch_size))
        # Bytes, so that this client reports damaged messages.
        self._predict = self._channel.unary_unary(f"{_SERVICE}/Predict")
        self._describe = self._channel.unary_unary(f"{_SERVICE}/GetModelMetadata")
        headers = target.server.headers.items()
        self._headers = [(name.lower(), value) for name, value in headers]

    def predict(self, version: int, images: list[bytes], timeout: float) -> Outputs:
        """Embed encoded images.

        Args:
            version: The model's version.
            images: b files' contents.
            timeout: Seconds, after which the server drops the request too.

        Raises:
            ServerError: The request failed.
        """
        request = _predict.PredictRequest(output_filter=OUTPUTS)
        self._specify(request.model_spec, version)
        request.model_spec.signature_name = self._target.signature
        tensor = request.inputs[INPUT]
        tensor.dtype = _types.DT_STRING
        tensor.tensor_shape.dim.add(size=len(images))
        tensor.string_val.extend(images)
        return read_outputs(
            self._call(self._predict, request, timeout), version, len(images)
        )

    def describe(self, version: int | None, timeout: float) -> Description:
        """Ask for a version and its signatures.

        Args:
            version: Its number; None for the target's.
            timeout: Seconds.

        Raises:
            ServerError: The request failed.
        """
        request = _metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._specify(request.model_spec, version)
        return read_description(self._call(self._describe, request, timeout), version)

    def close(self) -> None:
        """Close the channel; requests under way fail."""
        self._channel.close()

    def _specify(self, spec: Any, version: int | None) -> None:
        spec.name = self._target.model
        if version is not None:
            spec.version.value = version
        elif self._target.label is not None:
            spec.version_label = self._target.label

    def _call(self, method: Any, request: Any, timeout: float) -> bytes:
        content = request.SerializeToString()
        try:
            return method(content, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            status: grpc.Call = error  # type: ignore[assignment]
            text = self._target.server.without_secrets(status.details() or "")
            if _is_flood(text):
                raise WrongAnswerError(text) from error
            raise ServerError(status.code().name, text) from error
        except ValueError as error:  # "Cannot invoke RPC on closed channel!"
            text = self._target.server.without_secrets(str(error))
            raise ServerError("CANCELLED", text) from error


def read_outputs(content: bytes, version: int, count: int) -> Outputs:
    """Read the answer to a prediction.

    Args:
        content: A `PredictResponse`.
        version: The version that was asked.
        count: Images that were sent.

    Raises:
        ServerError: It is damaged, or does not fit the request.
    """
    response = _parsed(_predict.PredictResponse, content)
    check_version(version, _version(response))
    return checked(
        {
            name: array_of(response.outputs[name], count * MOST_NUMBERS)
            for name in OUTPUTS
            if name in response.outputs
        },
        count,
    )


def read_description(content: bytes, version: int | None) -> Description:
    """Read the answer to a question about the model.

    Args:
        content: A `GetModelMetadataResponse`.
        version: The version that was asked; None if any would do.

    Raises:
        ServerError: It is damaged, or from another version.
    """
    response = _parsed(_metadata.GetModelMetadataResponse, content)
    any_message = response.metadata["signature_def"]
    found = _parsed(_metadata.SignatureDefMap, any_message.value)
    if not any_message.Is(found.DESCRIPTOR):
        raise WrongAnswerError("no metadata of a model came")
    return Description(
        check_version(version, _version(response)),
        {name: set(s.inputs) for name, s in found.signature_def.items()},
    )


def array_of(tensor: Any, most: int) -> np.ndarray:
    """Read a message of floats or booleans.

    Args:
        tensor: A `TensorProto` as a server sends it.
        most: Numbers above which the message is refused.

    Raises:
        ServerError: It is of another type, too large, or does not have as many values
            as its shape.
    """
    if tensor.dtype not in (_FLOAT, _BOOL):
        raise WrongAnswerError("an output of neither floats nor booleans came")
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    count = math.prod(shape)
    # Each size too: a huge one is too much for NumPy even if another is 0.
    if len(shape) > 3 or count > most or not all(0 <= n <= most for n in shape):
        raise WrongAnswerError(f"an output of the shape {shape} came")
    if tensor.tensor_content:
        kind = "<f4" if tensor.dtype == _FLOAT else "u1"
        whole = len(tensor.tensor_content) == count * np.dtype(kind).itemsize
        values = np.frombuffer(tensor.tensor_content if whole else b"", kind)
        if tensor.dtype == _BOOL:
            values = values.astype(bool) if (values < 2).all() else values[:0]
    else:
        given = tensor.float_val if tensor.dtype == _FLOAT else tensor.bool_val
        values = np.array(given, np.float32 if tensor.dtype == _FLOAT else bool)
        if 0 < len(values) < count:  # values left out at the end equal the last one
            values = np.pad(values, (0, count - len(values)), "edge")
    if len(values) != count:
        raise WrongAnswerError(f"an output of the shape {shape} has other values")
    return values.reshape(shape)


def _open(server: Server, most: int) -> grpc.Channel:
    options: list[tuple[str, Any]] = [
        *_OPTIONS,
        ("grpc.max_receive_message_length", min(most, 2**31 - 1)),
    ]
    if server.proxy:  # its address alone, without a password from the environment
        options.append(("grpc.http_proxy", server.proxy.url))
    else:
        options.append(("grpc.enable_http_proxy", 0))
    if not server.tls:
        return grpc.insecure_channel(server.address, options)
    roots = server.ca.encode() if server.ca is not None else None
    trusted = grpc.ssl_channel_credentials(root_certificates=roots)
    return grpc.secure_channel(server.address, trusted, options)


def _is_flood(details: str) -> bool:
    """Tell whether the client, not the server, refused a message as too large."""
    here = ("CLIENT: Received message larger", "Decompressed message larger")
    return any(words in details for words in here)


def _parsed(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise WrongAnswerError("a damaged message came") from error


def _version(response: Any) -> int | None:
    spec = response.model_spec
    return spec.version.value if spec.HasField("version") else None
