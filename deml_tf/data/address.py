"""Addresses of the form HOST:PORT, as flags and TF_CONFIG give them."""

import ipaddress
import re
import urllib.request

_HOST = re.compile(r"[^\s/@:\[\]]+|\[[\da-fA-F:.]+\]")  # a name, an IPv4 or an [IPv6]
LAST_PORT = 2**16 - 1
# TensorFlow's servers accept a port but no address to listen on.
EXPOSED = (
    "Warning: TensorFlow listens on every network of this machine, and whoever reaches "
    "the port can run code here: let only a private network reach it."
)
MEND = f"write HOST:PORT, with a port from 1 to {LAST_PORT}"


def is_host(text: str) -> bool:
    """Tell whether a text may be the name or the IP address of a machine."""
    return _HOST.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Tell whether a host is a loopback address, which no other machine can reach.

    Args:
        host: A name or an IP address.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def direct(*hosts: str) -> dict[str, str]:
    """Return variables that keep TensorFlow's gRPC from using a proxy for this machine.

    Args:
        *hosts: Further machines that are reached without a proxy.

    Returns:
        Variables to add to the environment; none if no proxy is set.
    """
    known = urllib.request.getproxies_environment()
    if not {"grpc", "https", "http"} & known.keys():
        return {}
    exceptions = known.get("no_grpc", known.get("no", "")).split(",")
    names = dict.fromkeys([*exceptions, "localhost", "127.0.0.1", *hosts])
    return {"no_grpc_proxy": ",".join(filter(None, names))}


def split(address: str) -> tuple[str, int] | None:
    """Split an address into host and port.

    Args:
        address: HOST:PORT.

    Returns:
        Host and port, or None if it is not such an address.
    """
    host, _, port = address.rpartition(":")
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else 0
    return (host, number) if is_host(host) and 0 < number <= LAST_PORT else None


def bracketed(host: str) -> str:
    """Return a host as it is written in HOST:PORT: an IPv6 address in brackets.

    Args:
        host: A name or an IP address, without brackets.
    """
    return f"[{host}]" if ":" in host else host
