"""A server and how to reach it: address, protocol, encryption, headers, proxy."""

import dataclasses
import functools
import os
import re
import ssl
from collections.abc import Mapping

from deml_tf.client.proxy import Proxy, find_proxy
from deml_tf.data.address import split
from deml_tf.data.regular_files import open_regular
from deml_tf.errors import UsageError

PROTOCOLS = ("grpc", "rest")
_NAMES = {"grpc": "gRPC", "rest": "REST"}
_LARGEST_AUTHORITY = 10 * 2**20  # bytes: those of a whole system take a tenth of it
# Headers that the protocols set themselves.
_TAKEN = r"host|connection|te|trailer|upgrade|(content|transfer|accept|grpc)-.*|.*-bin"


@dataclasses.dataclass(frozen=True)
class Server:
    """A server and how to reach it.

    Attributes:
        address: `HOST:PORT`.
        protocol: `grpc` or `rest`.
        tls: Whether the connection is encrypted, and the server's certificate checked.
        ca: Certificates of the authorities that are trusted, as a PEM file's content;
            None for those that the system (REST) or the gRPC library trusts.
        headers: Headers to send with each request, by name; no message shows a value.

    Raises:
        UsageError: An argument is wrong.
    """

    address: str
    protocol: str = "grpc"
    tls: bool = False
    ca: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    def __post_init__(self):
        """Refuse wrong arguments."""
        if self.protocol not in PROTOCOLS:
            raise UsageError(
                f"protocol={self.protocol}: give {' or '.join(PROTOCOLS)}."
            )
        if not split(self.address) or not self.address.isprintable():
            shown = re.sub(".*@", "...@", self.address)  # it may be a password
            raise UsageError(f"server={shown}: write HOST:PORT, such as host:8500.")
        if self.ca is not None and not self.tls:
            raise UsageError("ca is given, but tls is not: give both, or neither.")
        for name, value in self.headers.items():
            _check_header(name, value)

    @property
    def host(self) -> str:
        """The host alone, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port alone."""
        return int(self.address.rpartition(":")[2])

    @functools.cached_property
    def proxy(self) -> Proxy | None:
        """The proxy on the way, if the environment names one for it."""
        schemes = ["https"] if self.tls else ["http"]
        if self.protocol == "grpc":  # as the gRPC library orders them
            schemes = ["grpc", "https", "http"]
        return find_proxy(schemes, self.host, self.port)

    @property
    def shown(self) -> str:
        """The address, and the proxy on the way, for messages."""
        return f"{self.address} (through {self.proxy})" if self.proxy else self.address

    @property
    def spoken(self) -> str:
        """The protocol at the port, for messages."""
        return f"{_NAMES[self.protocol]} {'with' if self.tls else 'without'} TLS"

    def context(self) -> ssl.SSLContext:
        """Return whom to trust, and how to encrypt."""
        return ssl.create_default_context(cadata=self.ca)

    def without_secrets(self, text: str) -> str:
        """Remove the headers' values from a text.

        Args:
            text: What a server says, which may repeat them.
        """
        words = {word for v in self.headers.values() for word in (v, *v.split())}
        for word in sorted(words, key=len, reverse=True):
            if len(word) > 3:
                text = text.replace(word, "...")
        return text


def read_ca(path: str | os.PathLike[str]) -> str:
    """Read the certificates of the authorities to trust.

    Args:
        path: A PEM file.

    Returns:
        Its content.

    Raises:
        UsageError: It cannot be read, or holds no certificate.
    """
    try:
        with open_regular(path) as file:  # a pipe would block for ever
            text = file.read(_LARGEST_AUTHORITY).decode("ascii", "ignore")  # comments
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        is_ssl = isinstance(error, ssl.SSLError | ValueError)
        reason = "it holds no certificate" if is_ssl else error.strerror
        raise UsageError(
            f"ca={os.fspath(path)} cannot be used ({reason}): give a PEM file with the "
            "certificate of the server's authority."
        ) from error
    return text


def parse_headers(given: list[str]) -> dict[str, str]:
    """Read headers as they are typed.

    Args:
        given: `NAME=VALUE` each.

    Raises:
        UsageError: One has another form, or a name comes twice. The message shows no
            value.
    """
    headers: dict[str, str] = {}
    for number, text in enumerate(given, start=1):
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"header number {number} has no =: write NAME=VALUE.")
        if name.lower() in headers:
            raise UsageError(f"header={name}=... is given twice: leave one out.")
        headers[name.lower()] = value
    return headers


def _check_header(name: str, value: str) -> None:
    if not re.fullmatch(r"[0-9A-Za-z._-]+", name):
        raise UsageError(
            "header: a name has characters other than letters, digits, -, _ and ., "
            "or none: write NAME=VALUE."
        )
    if re.fullmatch(_TAKEN, name, re.IGNORECASE):
        raise UsageError(
            f"header={name}=... is set by the protocol itself: leave it out."
        )
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value):
        raise UsageError(
            f"header={name}=... has no value, or one that is no line of printable "
            "ASCII: write NAME=VALUE."
        )
