"""The web server, from its start to Ctrl-C."""

import socket

import uvicorn

from deml_tf.search.site import Site
from deml_tf.search.web_app import RUNNING, WAITING, make_app

_CONNECTIONS = 512  # open at a time, most of them idle


def make_server(
    site: Site,
    allowed_hosts: list[str],
    most_bytes: int,
    running: int = RUNNING,
    waiting: int = WAITING,
) -> uvicorn.Server:
    """Make a server that does not run yet.

    Args:
        site: What it shows.
        allowed_hosts: Host names that requests may use; "*" for any.
        most_bytes: Largest body of a request.
        running: Requests that are answered at a time.
        waiting: Requests that wait for their turn; others are refused.
    """
    app = make_app(
        site,
        most_bytes=most_bytes,
        allowed_hosts=allowed_hosts,
        running=running,
        waiting=waiting,
    )
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)


def serve(
    site: Site, allowed_hosts: list[str], listening: socket.socket, most_bytes: int
) -> None:
    """Serve until a signal comes.

    Args:
        site: What is shown.
        allowed_hosts: Host names that requests may use; "*" for any.
        listening: A listening socket.
        most_bytes: Largest body of a request.
    """
    make_server(site, allowed_hosts, most_bytes).run(sockets=[listening])
