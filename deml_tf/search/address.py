"""Where the web page is served: the address, and who can reach it."""

import re
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from deml_tf.data.address import LAST_PORT, bracketed, is_host, is_loopback
from deml_tf.errors import UsageError

_LOOPBACK = "127.0.0.1"


class Address(NamedTuple):
    """A host of this machine and a port.

    Attributes:
        host: A name or an IP address, without brackets.
        port: 0 for any that is free.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """What to type into a browser."""
        return f"http://{bracketed(self.host)}:{self.port}/"

    def allowed_hosts(self, names: Iterable[str] = ()) -> list[str]:
        """Return the host names that requests may use; "*" stands for any.

        A page of another site may point its own name at this machine (DNS rebinding);
        the browser still sends that name, which is then refused.

        Args:
            names: Names besides this machine's own, such as a proxy's.
        """
        names = {name.lower() for name in names}
        if not (self.is_loopback or names):
            return ["*"]  # a machine may have any name in its network
        own = bracketed(self.host).lower()
        return sorted(names | {own, "localhost", _LOOPBACK, "[::1]"})


def read_address(serve: str) -> Address:
    """Read the address to serve at.

    Args:
        serve: HOST:PORT, or only a port, for 127.0.0.1.

    Raises:
        UsageError: It is something else.
    """
    host, colon, port = serve.rpartition(":")
    host = host if colon else _LOOPBACK
    if not (is_host(host) and re.fullmatch("[0-9]{1,5}", port)):
        raise UsageError(
            f"serve={serve}: write PORT or HOST:PORT, such as 127.0.0.1:8000."
        )
    if int(port) > LAST_PORT:
        raise UsageError(f"serve={serve}: give a port up to {LAST_PORT}.")
    return Address(host.strip("[]"), int(port))


def read_host_names(names: Sequence[str]) -> Sequence[str]:
    """Check the host names that requests may use.

    Args:
        names: Host names without ports.

    Returns:
        The same names.

    Raises:
        UsageError: One of them is not a host name.
    """
    for name in names:
        if not (is_host(name) and name.isascii()) or "*" in name:
            raise UsageError(
                f"host_name={name}: write a name or an IP address as browsers send it, "
                "without a port, such as search.example.org."
            )
    return names


def listen(address: Address) -> tuple[socket.socket, Address]:
    """Open a port, before long work.

    Args:
        address: Host and port.

    Returns:
        A listening socket, and its address with the port that it got.

    Raises:
        UsageError: The port is taken, or cannot be opened.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        taken = socket.create_server(tuple(address), family=family, backlog=128)
    except OSError as error:
        # Python adds the address to the system's message.
        why = str(error.strerror or error).partition(" (while ")[0]
        raise UsageError(
            f"serve={address.host}:{address.port} cannot be served ({why}): name "
            "another port, or an address of this machine."
        ) from error
    return taken, Address(address.host, taken.getsockname()[1])
