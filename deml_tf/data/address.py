"""HOST:PORT, as flags and TF_CONFIG give it."""

import re

_HOST = re.compile(r"[^\s/:\[\]]+|\[[\da-fA-F:.]+\]")  # a name, an IPv4 or an [IPv6]
LAST_PORT = 2**16 - 1
MEND = f"write HOST:PORT, with a port from 1 to {LAST_PORT}"


def is_host(text: str) -> bool:
    """Whether a text may be the name or the number of a machine."""
    return _HOST.fullmatch(text) is not None


def split(address: str) -> tuple[str, int] | None:
    """Takes an address apart.

    Args:
        address: HOST:PORT.

    Returns:
        Host and port; None if it is no such address.
    """
    host, _, port = address.rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() else 0
    return (host, number) if is_host(host) and 0 < number <= LAST_PORT else None
