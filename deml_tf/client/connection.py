"""The client: batches of images, and threads that send them to a server."""

import collections
import contextlib
import functools
import os
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

from deml_tf.client.answers import Answer, Embeddings, stack
from deml_tf.client.batches import REFUSED, UNSOUND, Found, Predict, ask, batches
from deml_tf.client.failures import ServerError, WrongAnswerError
from deml_tf.client.files import ImageFile
from deml_tf.client.server import Server, read_ca
from deml_tf.client.target import Target
from deml_tf.client.transport import Transport
from deml_tf.errors import DataError, UsageError

if TYPE_CHECKING:  # it needs the extra, which is imported later
    from deml_tf.client.retries import Patience

_MOST_SECONDS = 10**6


class Client:
    """A served embedder. Use it in a `with` statement, or close it.

    All embeddings come from one version: the one found at the first request, even if
    the server then moves a label or loads a newer version. Once that version is gone,
    the client fails; a new client takes the version of that time.

    Args:
        server: `HOST:PORT`; TensorFlow Serving's ports are 8500 for gRPC and 8501 for
            REST unless set otherwise.
        model: The model's name there.
        protocol: `grpc` or `rest`.
        version: One version; None for the newest that is loaded.
        label: A label in place of a version, such as `stable`.
        signature: `serving_default`, or another that takes `image_bytes`.
        batch_size: Images in a request, at most; no more than the server's
            `max_batch_size`.
        concurrency: Requests under way at one time.
        timeout: Seconds for one request.
        retries: Times that a request is sent again if the server is unavailable, busy
            or too slow.
        total_timeout: Seconds for one call of `embed` or `answers`; None for no limit.
        tls: Whether the connection is encrypted.
        ca: A PEM file of the authorities that may have signed the server's
            certificate; None for those that the system (REST) or the gRPC library
            trusts.
        headers: Headers to send with each request, by name, such as an authorization.
            Nothing else tells the server who is asking.

    Attributes:
        version: The model's version in use; None before it is known.
        retried: Number of requests that were sent again, by code.

    Raises:
        UsageError: An argument is wrong, or the extra is not installed.
    """

    def __init__(
        self,
        server: str,
        model: str,
        *,
        protocol: str = "grpc",
        version: int | None = None,
        label: str | None = None,
        signature: str = "serving_default",
        batch_size: int = 8,
        concurrency: int = 4,
        timeout: float = 30.0,
        retries: int = 8,
        total_timeout: float | None = None,
        tls: bool = False,
        ca: str | os.PathLike[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("concurrency", concurrency, 1),
            ("retries", retries, 0),
        ):
            if value < least:
                raise UsageError(f"{name}={value}: give {least} or more.")
        for name, seconds in (("timeout", timeout), ("total_timeout", total_timeout)):
            if seconds is not None and not 0 < seconds <= _MOST_SECONDS:
                raise UsageError(
                    f"{name}={seconds:g}: give more than 0 seconds, and at most "
                    f"{_MOST_SECONDS:,}."
                )
        trusted = read_ca(ca) if ca is not None else None
        way = Server(server, protocol, tls, trusted, headers or {})
        self.target = Target(way, model, version, label, signature)
        self.batch_size, self.concurrency = batch_size, concurrency
        self.total_timeout = total_timeout
        self.version = version
        self.retried: collections.Counter[str] = collections.Counter()
        self._transport, patience = _transport(self.target, batch_size)
        self._patience = functools.partial(
            patience, timeout, retries, retried=self.retried
        )
        self._pinning = threading.Lock()
        self._shape: tuple[int, ...] | None = None  # of all answers

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; requests under way fail."""
        self._transport.close()

    def check(self) -> int:
        """Ask whether the server has the model and the signature, and pin the version.

        Returns:
            The version that all embeddings come from.

        Raises:
            UsageError: It has not, or it reports no version and none was given.
            DataError: It cannot be reached.
        """
        with self._pinning:
            return self._describe(self._patience(until=self._until()))

    def _pinned(self, patience: "Patience") -> int:
        """Return the version, and ask for it if it is not known yet."""
        with self._pinning:
            known = self.version
            return self._describe(patience) if known is None else known

    def _describe(self, patience: "Patience") -> int:
        ask_for = functools.partial(self._transport.describe, self.version)
        reason = ""
        try:
            found = patience.call(ask_for)
            self.target.check_signature(found.signatures)
            self.version = found.version
        except ServerError as error:
            # A proxy may let only predictions pass.
            if error.code not in ("UNIMPLEMENTED", "PERMISSION_DENIED"):
                raise self.target.explain(error, self.version) from error
            reason = f" ({error})"
        if self.version is None:
            raise UsageError(
                f"version is not given, and {self.target.server.shown} does not tell "
                f"its own{reason}: give version=N, so that all embeddings are of one."
            )
        return self.version

    def embed(self, images: Sequence[bytes]) -> Embeddings:
        """Embed encoded images.

        Args:
            images: n files' contents.

        Returns:
            The `Embeddings`, in the same order.

        Raises:
            UsageError: The server has no such model or signature.
            DataError: It cannot be reached, or refuses everything.
        """
        files = [ImageFile(len(i), functools.partial(bytes, i)) for i in images]
        found = dict(self.answers(files))
        return stack([found[index] for index in range(len(images))])

    def answers(self, files: Sequence[ImageFile]) -> Iterator[tuple[int, Answer]]:
        """Embed images, and yield each answer as soon as it arrives.

        Args:
            files: Any number of images; few are read at a time.

        Yields:
            Index and `Answer`, in the order in which the answers arrive.

        Raises:
            UsageError: The server has no such model or signature.
            DataError: It cannot be reached, or refuses everything. All answers that
                arrived before the failure have been yielded.
        """
        if not files:
            return
        patience = self._patience(until=self._until())
        predict = functools.partial(self._transport.predict, self._pinned(patience))
        failure, refusal, asked = None, "", False
        asking = self._ask_all(predict, files, patience)
        with contextlib.closing(asking) as batches_answered:
            for found, error in batches_answered:
                other = self._other_shape(found)
                if error or other:
                    failure = failure or error or other
                    patience.stop.set()
                if other:
                    continue
                for _, answer in found:
                    refused = answer.reason.startswith((REFUSED, UNSOUND))
                    refusal = refusal or (answer.reason if refused else "")
                    asked = asked or not (refused or answer.embedding is None)
                yield from found
        if failure is not None:
            raise self.target.explain(failure, self.version) from failure
        if refusal and not asked:
            raise DataError(
                f"model={self.target.model}: every image was {refusal}; the server's "
                "log may say more"
            )

    def _ask_all(
        self, predict: Predict, files: Sequence[ImageFile], patience: "Patience"
    ) -> Generator[tuple[Found, ServerError | None], None, None]:
        """Send batches in threads until `patience.stop` is set; see `ask`."""
        groups = batches([file.size for file in files], self.batch_size)
        pool = ThreadPoolExecutor(self.concurrency, "deml_tf client")
        running: list[Future] = []
        try:
            while True:
                # One more than can run, so that no thread waits for the reader.
                while not patience.stop.is_set() and len(running) <= self.concurrency:
                    group = next(groups, None)
                    if group is None:
                        break
                    members = {index: files[index] for index in group}
                    running.append(pool.submit(ask, predict, members, patience))
                if not running:
                    break
                wait(running, return_when=FIRST_COMPLETED)
                done = [future for future in running if future.done()]
                running = [future for future in running if future not in done]
                for future in done:  # in the order in which they were sent
                    yield future.result()
        finally:
            patience.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _other_shape(self, found: Found) -> ServerError | None:
        """Find answers of another shape than earlier ones: they are not comparable."""
        for _, answer in found:
            if answer.embedding is not None and answer.boxes is not None:
                shape = answer.embedding.shape + answer.boxes.shape
                self._shape = self._shape or shape
                if shape != self._shape:
                    return WrongAnswerError("its answers have different shapes")
        return None

    def _until(self) -> float | None:
        return self.total_timeout and time.monotonic() + self.total_timeout


def _transport(target: Target, batch_size: int) -> tuple[Transport, type]:
    """Import what needs the extra: the transport and the retries."""
    protocol = target.server.protocol
    try:
        from deml_tf.client.retries import Patience

        if protocol == "grpc":
            from deml_tf.client.grpc_transport import GrpcTransport

            return GrpcTransport(target, batch_size), Patience

        from deml_tf.client.rest_transport import RestTransport

        return RestTransport(target, batch_size), Patience
    except ImportError as error:
        raise UsageError(
            f"protocol={protocol} needs {error.name}, which is not installed: "
            "pip install deml_tf[client]."
        ) from error
