"""The client: batches of images, and threads that send them to a server."""

import collections
import contextlib
import functools
import re
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

from deml_tf.client.answers import Answer, Embeddings, stack
from deml_tf.client.batches import REFUSED, Found, ask, batches
from deml_tf.client.failures import ServerError
from deml_tf.client.files import ImageFile
from deml_tf.client.target import Target
from deml_tf.client.transport import Transport
from deml_tf.errors import DataError, UsageError

if TYPE_CHECKING:  # it needs the extra, which is asked for later
    from deml_tf.client.retries import Patience

PROTOCOLS = ("grpc", "rest")


class Client:
    """A served embedder. Use it in a `with` statement, or close it.

    Args:
        server: `HOST:PORT`; TensorFlow Serving's ports are 8500 for gRPC and 8501 for
            REST unless it was told others.
        model: Its name there.
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
    ):
        if not re.fullmatch(r"[^\s/]+:\d+", server):
            raise UsageError(f"server={server}: write HOST:PORT, such as host:8500.")
        if version is not None and label is not None:
            raise UsageError(f"label={label}: leave it out, or version={version}.")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("concurrency", concurrency, 1),
            ("retries", retries, 0),
        ):
            if value < least:
                raise UsageError(f"{name}={value}: give {least} or more.")
        for name, seconds in (("timeout", timeout), ("total_timeout", total_timeout)):
            if seconds is not None and not seconds > 0:
                raise UsageError(f"{name}={seconds:g}: give more than 0 seconds.")
        self.target = Target(server, model, protocol, version, label, signature)
        self.batch_size, self.concurrency = batch_size, concurrency
        self.total_timeout = total_timeout
        self.retried: collections.Counter[str] = collections.Counter()
        self._transport, patience = _transport(self.target)
        self._patience = functools.partial(
            patience, timeout, retries, retried=self.retried
        )

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; requests under way fail."""
        self._transport.close()

    def check(self) -> None:
        """Ask whether the server has the model and the signature.

        Raises:
            UsageError: It has not.
            DataError: It cannot be reached.
        """
        patience = self._patience(until=self._until())
        try:
            found = patience.call(self._transport.signatures)
        except ServerError as error:
            if error.code in ("UNIMPLEMENTED", "PERMISSION_DENIED"):
                return  # a proxy that lets predictions alone pass
            raise self.target.explain(error) from error
        self.target.check_signature(found)

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
        """Embed images, and give each answer as soon as it is there.

        Args:
            files: Any number of them: few are read at one time.

        Yields:
            Index and `Answer`, in the order in which the answers come.

        Raises:
            UsageError: The server has no such model or signature.
            DataError: It cannot be reached, or refuses everything. All answers that
                came before the failure have been given.
        """
        patience = self._patience(until=self._until())
        failure, refusal, asked = None, "", False
        with contextlib.closing(self._ask_all(files, patience)) as batches_answered:
            for found, error in batches_answered:
                for _, answer in found:
                    asked = asked or answer.embedding is not None
                    refused = answer.reason.startswith(REFUSED)
                    refusal = refusal or (answer.reason if refused else "")
                if error is not None:
                    failure = failure or error
                    patience.stop.set()
                yield from found
        if failure is not None:
            raise self.target.explain(failure) from failure
        if refusal and not asked:
            raise DataError(
                f"model={self.target.model}: every image was {refusal}; the server's "
                "log may say more"
            )

    def _ask_all(
        self, files: Sequence[ImageFile], patience: "Patience"
    ) -> Generator[tuple[Found, ServerError | None], None, None]:
        """Send batches in threads until `patience.stop` is set; see `ask`."""
        groups = batches([file.size for file in files], self.batch_size)
        pool = ThreadPoolExecutor(self.concurrency, "deml_tf client")
        running: set[Future] = set()
        try:
            while True:
                # One more than can run, so that no thread waits for the reader.
                while not patience.stop.is_set() and len(running) <= self.concurrency:
                    group = next(groups, None)
                    if group is None:
                        break
                    members = {index: files[index] for index in group}
                    running.add(pool.submit(ask, self._transport, members, patience))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            patience.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _until(self) -> float | None:
        return self.total_timeout and time.monotonic() + self.total_timeout


def _transport(target: Target) -> tuple[Transport, type]:
    """Import what needs the extra: the transport and the retries."""
    protocol = target.protocol
    try:
        from deml_tf.client.retries import Patience

        if protocol == "grpc":
            from deml_tf.client.grpc_transport import GrpcTransport

            return GrpcTransport(target), Patience
        if protocol == "rest":
            from deml_tf.client.rest_transport import RestTransport

            return RestTransport(target), Patience
    except ImportError as error:
        raise UsageError(
            f"protocol={protocol} needs {error.name}, which is not installed: "
            "pip install deml_tf[client]."
        ) from error
    raise UsageError(f"protocol={protocol}: give {' or '.join(PROTOCOLS)}.")
