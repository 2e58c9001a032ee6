"""One HTTP connection to a server.

It follows no redirects, reads no passwords from files, and decompresses nothing.
"""

import contextlib
import http.client
import select
import socket
import threading
from typing import NamedTuple

from deml_tf.client.failures import ServerError, WrongAnswerError
from deml_tf.client.server import Server

# The last two come if another thread closes the connection.
_FAILURES = (OSError, http.client.HTTPException, ValueError, AttributeError)


class Answer(NamedTuple):
    """An answer of any status.

    Attributes:
        status: HTTP status code.
        reason: HTTP's phrase for it.
        location: Where a redirect leads.
        content: The body.
    """

    status: int
    reason: str
    location: str
    content: bytes


class HttpConnection:
    """A connection that is kept between requests, for one thread at a time.

    Args:
        server: The server to connect to.
    """

    def __init__(self, server: Server):
        proxy = server.proxy
        host, port = (proxy.host, proxy.port) if proxy else (server.host, server.port)
        self._prefix = ""
        if server.tls:
            self._http = http.client.HTTPSConnection(
                host, port, context=server.context()
            )
            if proxy:
                self._http.set_tunnel(server.host, server.port)
        else:
            self._http = http.client.HTTPConnection(host, port)
            if proxy:
                self._prefix = f"http://{server.address}"
        own = {"Host": server.address, "Content-Type": "application/json"}
        self._headers = {**server.headers, **own}
        self._closed, self._sock = False, None

    def request(
        self, method: str, path: str, body: bytes | None, seconds: float, most: int
    ) -> Answer:
        """Send a request and read its answer.

        Args:
            method: HTTP method.
            path: Path with its leading slash.
            body: JSON.
            seconds: Time for the whole exchange, however slowly the server sends.
            most: Bytes of the largest answer.

        Raises:
            ServerError: There is no answer, or a larger one.
        """
        if self._closed:
            raise ServerError("CANCELLED", "the client is closed")
        late = threading.Event()

        def end() -> None:
            late.set()
            self.cut()

        watch = threading.Timer(seconds, end)
        watch.daemon = True
        watch.start()
        try:
            self._connect(seconds)
            self._http.request(method, self._prefix + path, body, self._headers)
            answer = self._read(self._http.getresponse(), most)
            if late.is_set():  # what was cut off may look complete
                raise TimeoutError
            return answer
        except _FAILURES as error:
            self._http.close()
            if self._closed:
                raise ServerError("CANCELLED", "the client is closed") from error
            if late.is_set() or isinstance(error, TimeoutError):
                text = f"{seconds:g} s passed"
                raise ServerError("DEADLINE_EXCEEDED", text) from error
            raise ServerError("UNAVAILABLE", str(error) or repr(error)) from error
        except ServerError:
            self._http.close()
            raise
        finally:
            watch.cancel()

    def cut(self) -> None:
        """End the request that is under way, from another thread."""
        # `_http` drops its socket while an answer without a length is still read.
        for sock in filter(None, (self._http.sock, self._sock)):
            with contextlib.suppress(OSError):  # it has ended
                # Not SSLSocket's method, which would continue in plain text.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection for ever; a request under way fails."""
        self._closed = True
        self.cut()
        self._http.close()

    def _connect(self, seconds: float) -> None:
        if self._http.sock is not None:
            waiting = select.poll()
            waiting.register(self._http.sock, select.POLLIN)
            if waiting.poll(0):  # the server has hung up since the last request
                self._http.close()
        self._http.timeout = seconds
        if self._http.sock is None:
            self._http.connect()
        self._sock = self._http.sock
        self._sock.settimeout(seconds)

    def _read(self, response: http.client.HTTPResponse, most: int) -> Answer:
        packed = response.headers.get("Content-Encoding", "identity")
        if packed.strip().lower() not in ("", "identity"):
            raise WrongAnswerError(f"a packed answer came, by {packed}")
        content = response.read(most + 1)
        if len(content) > most:
            raise WrongAnswerError(f"an answer of more than {most} bytes came")
        if response.length:
            raise http.client.IncompleteRead(content, response.length)
        if response.will_close:
            self._http.close()
        location = response.headers.get("Location", "")
        return Answer(response.status, response.reason, location, content)
