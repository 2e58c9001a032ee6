"""The way to a server over REST."""

import base64
import threading
from typing import Any
from urllib.parse import quote

import requests

from deml_tf.client.failures import ServerError
from deml_tf.client.target import INPUT, Target
from deml_tf.client.transport import Outputs, checked

# The meaning of HTTP statuses of TensorFlow Serving and the proxies before it.
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
_CUT_OFF = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


class RestTransport:
    """Connections to a server, one for each thread that asks.

    Args:
        target: Whom to ask.
    """

    def __init__(self, target: Target):
        url = f"http://{target.server}/v1/models/{quote(target.model, safe='')}"
        if target.version is not None:
            url += f"/versions/{target.version}"
        if target.label is not None:
            url += f"/labels/{quote(target.label, safe='')}"
        self._url = url
        self._signature = target.signature
        # A session is not made for several threads.
        self._of_thread = threading.local()
        self._all: list[requests.Session] = []

    def predict(self, images: list[bytes], timeout: float) -> Outputs:
        """Embed encoded images.

        Args:
            images: b files' contents.
            timeout: Seconds without a byte from the server; it has a limit of its own
                (`--rest_api_timeout_in_ms`, half a minute).

        Raises:
            ServerError: It failed.
        """
        encoded = [{"b64": base64.b64encode(image).decode()} for image in images]
        body = {"signature_name": self._signature, "inputs": {INPUT: encoded}}
        answer = self._call("POST", f"{self._url}:predict", timeout, json=body)
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            raise ServerError("INTERNAL", "an answer without named outputs came")
        return checked(outputs, len(images))

    def signatures(self, timeout: float) -> dict[str, set[str]]:
        """Return the names of each signature's inputs.

        Args:
            timeout: Seconds, as for `predict`.

        Raises:
            ServerError: It failed.
        """
        answer = self._call("GET", f"{self._url}/metadata", timeout)
        try:
            # Twice the same name: the field of the answer, and that of the message.
            found = answer["metadata"]["signature_def"]["signature_def"]
            return {name: set(s.get("inputs", ())) for name, s in found.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ServerError("INTERNAL", "no metadata of a model came") from error

    def close(self) -> None:
        """Close the connections."""
        for session in self._all:
            session.close()

    def _call(
        self, method: str, url: str, timeout: float, **content: Any
    ) -> dict[str, Any]:
        try:
            answer = self._session().request(method, url, timeout=timeout, **content)
            if not answer.ok:
                code = _CODES.get(answer.status_code, f"HTTP {answer.status_code}")
                raise ServerError(code, _reason(answer))
            found = answer.json()
        except requests.Timeout as error:
            raise ServerError("DEADLINE_EXCEEDED", f"{timeout:g} s passed") from error
        except requests.JSONDecodeError as error:
            raise ServerError("INTERNAL", "an answer that is no JSON came") from error
        except _CUT_OFF as error:
            raise ServerError("UNAVAILABLE", str(error)) from error
        except requests.RequestException as error:
            raise ServerError("UNKNOWN", str(error)) from error
        if not isinstance(found, dict):
            raise ServerError("INTERNAL", "an answer that is no object came")
        return found

    def _session(self) -> requests.Session:
        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = requests.Session()
            self._all.append(self._of_thread.session)
        return self._of_thread.session


def _reason(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (requests.JSONDecodeError, KeyError, TypeError):
        return answer.text or answer.reason  # a proxy's page
