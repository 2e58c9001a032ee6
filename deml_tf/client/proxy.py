"""The proxy that the environment names for a server."""

import contextlib
import ipaddress
import urllib.request
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from deml_tf.data.address import bracketed
from deml_tf.errors import UsageError


class Proxy(NamedTuple):
    """A proxy, without the name and password that the environment may give for it.

    Attributes:
        variable: The environment variable that names it.
        host: Its host.
        port: Its port.
    """

    variable: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{bracketed(self.host)}:{self.port}"

    def __str__(self) -> str:
        """Return what a user can look for in the environment."""
        return f"the proxy {self.variable}={self.url}"


def find_proxy(schemes: Sequence[str], host: str, port: int) -> Proxy | None:
    """Find the proxy for a server; this machine itself needs none.

    Args:
        schemes: Schemes of the variables `SCHEME_proxy`; the first that is set counts.
        host: The server's host.
        port: The server's port.

    Returns:
        The proxy; None if there is none, or `no_proxy` names the server.

    Raises:
        UsageError: The variable does not hold the address of an HTTP proxy.
    """
    known = urllib.request.getproxies_environment()
    scheme = next((scheme for scheme in schemes if known.get(scheme)), None)
    if scheme is None or _is_direct(host, port, known.get("no", "")):
        return None
    url = known[scheme]
    with contextlib.suppress(ValueError):  # a wrong port, or a single bracket
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme == "http" and parts.hostname:
            return Proxy(f"{scheme}_proxy", parts.hostname, parts.port or 80)
    raise UsageError(
        f"{scheme}_proxy is no address of an HTTP proxy: write http://HOST:PORT, or "
        f"no_proxy={host} to reach the server without one."
    )


def _is_direct(host: str, port: int, exceptions: str) -> bool:
    networks = exceptions.split(",")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        networks = []
        if host.rstrip(".").lower() == "localhost":
            return True
    else:
        if address.is_loopback:
            return True
    for text in networks:
        with contextlib.suppress(ValueError):  # a name
            if address in ipaddress.ip_network(text.strip(), strict=False):
                return True
    direct = urllib.request.proxy_bypass
    return bool(direct(host) or direct(f"{host}:{port}"))
