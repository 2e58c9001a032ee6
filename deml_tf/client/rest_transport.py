"""Requests to a server over REST, and its answers."""

import base64
import json
import queue
from typing import Any
from urllib.parse import quote

import numpy as np

from deml_tf.client.failures import ServerError, WrongAnswerError
from deml_tf.client.http_connection import Answer, HttpConnection
from deml_tf.client.target import INPUT, Target
from deml_tf.client.transport import (
    OUTPUTS,
    Description,
    Outputs,
    check_version,
    checked,
    most_bytes,
)

# What HTTP statuses of TensorFlow Serving and proxies in front of it mean.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_DEPTHS = {"embedding": (2, float), "valid": (1, bool), "boxes": (3, float)}


class RestTransport:
    """Connections to a server, one for each request that is under way.

    Args:
        target: The model to ask.
        batch_size: Images in a request, at most.
    """

    def __init__(self, target: Target, batch_size: int):
        self._target, self._most_images = target, batch_size
        self._idle: queue.LifoQueue[HttpConnection] = queue.LifoQueue()
        self._all: list[HttpConnection] = []

    def predict(self, version: int, images: list[bytes], timeout: float) -> Outputs:
        """Embed encoded images.

        Args:
            version: The model's version.
            images: b files' contents.
            timeout: Seconds within which the whole answer must arrive; the server has a
                limit of its own (`--rest_api_timeout_in_ms`, by default half a minute;
                export/compose.yaml sets it).

        Raises:
            ServerError: The request failed.
        """
        encoded = [{"b64": base64.b64encode(image).decode()} for image in images]
        body = {"signature_name": self._target.signature, "inputs": {INPUT: encoded}}
        path = f"{self._path(version)}:predict"
        content = self._call("POST", path, timeout, json.dumps(body).encode())
        return read_outputs(content, len(images))

    def describe(self, version: int | None, timeout: float) -> Description:
        """Ask for a version and its signatures.

        Args:
            version: Its number; None for the target's.
            timeout: Seconds, as for `predict`.

        Raises:
            ServerError: The request failed.
        """
        content = self._call("GET", f"{self._path(version)}/metadata", timeout)
        return read_description(content, version)

    def close(self) -> None:
        """Close the connections; requests under way fail."""
        for connection in self._all:
            connection.close()

    def _path(self, version: int | None) -> str:
        path = f"/v1/models/{quote(self._target.model, safe='')}"
        if version is not None:
            return f"{path}/versions/{version}"
        if self._target.label is not None:
            return f"{path}/labels/{quote(self._target.label, safe='')}"
        return path

    def _call(
        self, method: str, path: str, timeout: float, body: bytes | None = None
    ) -> bytes:
        most = most_bytes(self._most_images)
        connection = self._connection()
        try:
            answer = connection.request(method, path, body, timeout, most)
        finally:
            self._idle.put(connection)
        if answer.status == 200:
            return answer.content
        code = _CODES.get(answer.status, f"HTTP {answer.status}")
        text = self._target.server.without_secrets(_reason(answer))
        raise ServerError(code, text)

    def _connection(self) -> HttpConnection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            connection = HttpConnection(self._target.server)
            self._all.append(connection)
            return connection


def read_outputs(content: bytes, count: int) -> Outputs:
    """Read the answer to a prediction.

    Args:
        content: JSON.
        count: Images that were sent.

    Raises:
        ServerError: It is damaged, or does not fit the request.
    """
    outputs = _parsed(content).get("outputs")
    if not isinstance(outputs, dict):
        raise WrongAnswerError("an answer without named outputs came")
    arrays = {n: _array(n, outputs[n]) for n in OUTPUTS if n in outputs}
    return checked(arrays, count)


def read_description(content: bytes, version: int | None) -> Description:
    """Read the answer to a question about the model.

    Args:
        content: JSON.
        version: The version that was asked; None if any would do.

    Raises:
        ServerError: It is damaged, or from another version.
    """
    answer = _parsed(content)
    try:
        # The same name twice: the field of the answer, and that of the message.
        found = answer["metadata"]["signature_def"]["signature_def"]
        signatures = {name: set(s.get("inputs", ())) for name, s in found.items()}
        number = answer.get("model_spec", {}).get("version")
    except (KeyError, TypeError, AttributeError) as error:
        raise WrongAnswerError("no metadata of a model came") from error
    return Description(check_version(version, number), signatures)


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        # Read every number as a float: an integer may have millions of digits.
        found = json.loads(content, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise WrongAnswerError("an answer that is no JSON came") from error
    if not isinstance(found, dict):
        raise WrongAnswerError("an answer that is no object came")
    return found


def _array(name: str, rows: Any) -> np.ndarray:
    """Make an array from lists of known depth, without guessing what they hold."""
    depth, kind = _DEPTHS[name]
    try:
        if _holds(rows, depth, kind):
            return np.array(rows, kind)
    except ValueError as error:
        raise WrongAnswerError(f"rows of unequal length came as {name}") from error
    raise WrongAnswerError(f"something else than rows of {kind.__name__} came: {name}")


def _holds(rows: Any, depth: int, kind: type) -> bool:
    if depth == 0 or not isinstance(rows, list):
        return type(rows) is kind and depth == 0
    return all(_holds(row, depth - 1, kind) for row in rows)


def _reason(answer: Answer) -> str:
    if answer.location:
        return f"it sends to {answer.location}, where this client does not follow"
    try:
        return str(_parsed(answer.content)["error"])
    except (ServerError, KeyError):  # a proxy's page
        return answer.content.decode(errors="replace") or answer.reason
