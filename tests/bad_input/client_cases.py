"""Wrong inputs of the client, and servers that are not there."""

from bad_case import Case

ASK = "client --model=m --output=out.npz --retries=0 --protocol=rest images"

CASES = [
    Case(
        "nobody at the server's port",
        f"{ASK} --server=127.0.0.1:1",
        1,
        "--server=127.0.0.1:1 cannot be reached (UNAVAILABLE: [Errno 111] Connection "
        "refused): start it, or name the port on which it speaks REST without TLS.",
    ),
    Case(
        "nobody at the proxy's port",
        f"http_proxy=http://me:secret@127.0.0.1:1 {ASK} --server=a.example:8501",
        1,
        "--server=a.example:8501 (through the proxy http_proxy=http://127.0.0.1:1) "
        "cannot be reached (UNAVAILABLE: [Errno 111] Connection refused): start it, "
        "name it in no_proxy=a.example, or name the port on which it speaks REST "
        "without TLS.",
    ),
    Case(
        "a proxy that is none for HTTP",
        f"http_proxy=socks5://127.0.0.1:1 {ASK} --server=a.example:8501",
        2,
        "http_proxy is no address of an HTTP proxy: write http://HOST:PORT, or "
        "no_proxy=a.example to reach the server without one.",
    ),
    Case(
        "a password in the server's address",
        f"{ASK} --server=me:secret@a.example:8501",
        2,
        "--server=...@a.example:8501: write HOST:PORT, such as host:8500.",
    ),
    Case(
        "a header without a value",
        f"{ASK} --server=127.0.0.1:1 --header=secret",
        2,
        "header number 1 has no =: write NAME=VALUE.",
    ),
    Case(
        "a header of the protocol's own",
        f"{ASK} --server=127.0.0.1:1 --header=Host=secret",
        2,
        "--header=host=... is set by the protocol itself: leave it out.",
    ),
    Case(
        "an authority that is no certificate",
        f"{ASK} --server=127.0.0.1:1 --tls --ca=tiny.cfg",
        2,
        "--ca=tiny.cfg cannot be used (it holds no certificate): give a PEM file with "
        "the certificate of the server's authority.",
    ),
    Case(
        "a version below zero",
        f"{ASK} --server=127.0.0.1:1 --version=-1",
        2,
        "--version=-1: give a number from 0 on.",
    ),
]
