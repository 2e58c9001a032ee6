"""The way to a server: TLS, headers, proxies, and no password that was not given."""

import os
import shutil
from http.client import HTTPConnection

import pytest

from deml_tf.client import Client
from deml_tf.client.proxy import find_proxy
from deml_tf.client.server import Server, parse_headers, read_ca
from deml_tf.errors import DataError, UsageError
from tests.client.fixed_servers import (
    certificates,
    described_json,
    grpc_server,
    http_server,
    right,
    right_grpc,
    tls_context,
    tls_credentials,
)

TOKEN = "Bearer hushhush"
PROTOCOLS = ("grpc", "rest")
VARIABLES = [f"{s}_proxy" for s in ("grpc", "https", "http", "all", "no")]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def embed(address, protocol, **options):
    with Client(address, "m", protocol=protocol, retries=0, **options) as client:
        client.check()
        return client.embed([b"a"])


def test_connections_are_kept_from_call_to_call(monkeypatch):
    made, real = [], HTTPConnection.connect

    def connect(self):
        made.append(self)
        real(self)

    monkeypatch.setattr(HTTPConnection, "connect", connect)
    with http_server(right) as (address, seen):
        with Client(address, "m", protocol="rest", concurrency=1) as client:
            for _ in range(5):
                client.embed([b"a"])
    assert len(seen) == 6 and len(made) == 1


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    return certificates(tmp_path_factory.mktemp("papers"))


@pytest.fixture(params=PROTOCOLS)
def tls_server(request, papers):
    _, certificate, key = papers
    if request.param == "grpc":
        server = grpc_server(right_grpc, tls_credentials(certificate, key))
    else:
        server = http_server(right, tls_context(certificate, key))
    with server as (address, seen):
        yield request.param, address, seen


def test_tls_and_headers(tls_server, papers):
    protocol, address, seen = tls_server
    headers = {"Authorization": TOKEN, "x-team": "birds"}
    found = embed(address, protocol, tls=True, ca=papers[0], headers=headers)
    assert found.valid.all() and len(seen) == 2
    for _, given, _ in seen:
        assert (given["authorization"], given["x-team"]) == (TOKEN, "birds")


def test_a_certificate_that_nobody_trusts(tls_server):
    protocol, address, seen = tls_server
    with pytest.raises(DataError, match="nobody trusted has signed .*with ca=FILE"):
        embed(address, protocol, tls=True)
    assert not seen


def test_a_name_that_the_certificate_does_not_have(tls_server, papers):
    protocol, address, seen = tls_server
    address = address.replace("127.0.0.1", "localhost")
    with pytest.raises(DataError, match="server=localhost:.*([Hh]ostname|[Pp]eer)"):
        embed(address, protocol, tls=True, ca=papers[0])
    assert not seen


def test_without_tls_to_a_port_that_wants_it(tls_server):
    protocol, address, _ = tls_server
    with pytest.raises(DataError, match="on which it speaks .* without TLS"):
        embed(address, protocol, timeout=20)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_with_tls_to_a_port_that_has_none(protocol, papers):
    server = {"grpc": grpc_server(right_grpc), "rest": http_server(right)}[protocol]
    with (
        server as (address, seen),
        pytest.raises(DataError, match="on which it speaks .* with TLS|in time"),
    ):
        embed(address, protocol, tls=True, ca=papers[0], timeout=2)
    assert not seen


def test_authorities(tmp_path, papers):
    assert "BEGIN CERTIFICATE" in read_ca(papers[0])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe cannot be used .it is a pipe"):
        read_ca(tmp_path / "pipe")  # would wait for a writer for ever
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("ä")
    for name, why in (
        ("empty", "no certificate"),
        ("text", "no certificate"),
        ("gone", "No such file"),
        (".", "it is a folder"),
    ):
        with pytest.raises(UsageError, match=rf"ca=.*{name} cannot .*\({why}|it holds"):
            read_ca(tmp_path / name)
    with pytest.raises(UsageError, match="ca is given, but tls is not"):
        Client("host:1", "m", ca=papers[0])


def test_headers_as_typed():
    given = ["Authorization=Basic a==", "x-a=b"]
    assert parse_headers(given) == {"authorization": "Basic a==", "x-a": "b"}
    for wrong, sentence in (
        (["hushhush"], "header number 1 has no ="),
        (["a=hushhush", "A=hushhush"], "header=A=... is given twice"),
    ):
        with pytest.raises(UsageError, match=sentence) as caught:
            parse_headers(wrong)
        assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize(
    "name, value",
    [
        ("", "hushhush"),
        ("a b", "hushhush"),
        ("a:", "hushhush"),
        ("Host", "hushhush"),
        ("Content-Length", "hushhush"),
        ("grpc-timeout", "hushhush"),
        ("x-bin", "hushhush"),
        ("a", ""),
        ("a", "hushhush\r\nb: c"),
        ("a", "hushhush "),
        ("a", "hushhushä"),
    ],
)
def test_wrong_headers(name, value):
    with pytest.raises(UsageError, match="^header") as caught:
        Server("host:1", headers={name: value})
    assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_message_shows_a_secret(protocol):
    def http(method, path, body):
        return 401, b'{"error": "no entry with Bearer hushhush, hushhush"}'

    def grpc_answer(what, request, context):
        import grpc

        text = "no entry with Bearer hushhush, hushhush"
        context.abort(grpc.StatusCode.UNAUTHENTICATED, text)

    rest = protocol == "rest"
    server = http_server(http) if rest else grpc_server(grpc_answer)
    with server as (address, _), pytest.raises(DataError) as caught:
        embed(address, protocol, headers={"Authorization": TOKEN})
    text = str(caught.value)
    assert text == (
        f"server={address} refuses this client (UNAUTHENTICATED: no entry with ..., "
        "...): give what it asks for with header=NAME=VALUE"
    )
    assert "hushhush" not in repr(Server(address, headers={"a": TOKEN}))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_cannot_forge_lines(protocol):
    words = "gone\x1b[2K\r\nerror: all is well\u202e"

    def grpc_answer(what, request, context):
        import grpc

        context.abort(grpc.StatusCode.INTERNAL, words)

    rest = protocol == "rest"
    server = (
        http_server(lambda *_: (500, words.encode()))
        if rest
        else grpc_server(grpc_answer)
    )
    with server as (address, _), pytest.raises(DataError) as caught:
        embed(address, protocol)
    assert str(caught.value).isprintable()
    assert r"gone\x1b[2K error: all is well\u202e" in str(caught.value)


def test_no_redirect_and_no_netrc(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hushhush")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with http_server(right) as (elsewhere, reached):

        def answer(method, path, body):
            if method == "GET":
                return 200, described_json()
            return 307, b"", {"Location": f"http://{elsewhere}{path}"}

        with (
            http_server(answer) as (address, seen),
            pytest.raises(DataError, match=f"HTTP 307: it sends to http://{elsewhere}"),
        ):
            embed(address, "rest")
        assert not reached and len(seen) == 2
    assert not any("authorization" in headers for _, headers, _ in seen)


def test_a_loopback_server_needs_no_proxy(monkeypatch):
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, "http://me:hushhush@127.0.0.1:1")
    with http_server(right) as (address, seen):
        assert embed(address, "rest").valid.all()
        host = seen[0][1]["host"]
        assert host == address
    with grpc_server(right_grpc) as (address, _):
        assert embed(address, "grpc").valid.all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_proxy_that_fails_is_named(protocol, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:hushhush@127.0.0.1:1")
    with pytest.raises(DataError) as caught:
        embed("embedder.invalid:8500", protocol)
    text = str(caught.value)
    assert text.startswith(
        "server=embedder.invalid:8500 (through the proxy "
        "http_proxy=http://127.0.0.1:1) cannot be reached (UNAVAILABLE: "
    )
    assert "start it, name it in no_proxy=embedder.invalid, or name the port" in text
    assert "hushhush" not in text


def test_through_a_proxy(monkeypatch):
    with http_server(lambda m, p, b: right(m, p, b)) as (proxy, seen):
        monkeypatch.setenv("http_proxy", f"http://me:hushhush@{proxy}")
        assert embed("embedder.invalid:8501", "rest").valid.all()
    what, headers, _ = seen[0]
    assert what == "GET http://embedder.invalid:8501/v1/models/m/metadata"
    assert headers["host"] == "embedder.invalid:8501"
    assert "proxy-authorization" not in headers


@pytest.mark.parametrize("protocol, tls", [("grpc", False), ("rest", True)])
def test_through_a_tunnel(protocol, tls, monkeypatch):
    with http_server(lambda *_: (403, b"not there")) as (proxy, seen):
        monkeypatch.setenv("https_proxy", f"http://me:hushhush@{proxy}")
        with pytest.raises(DataError, match="through the proxy https_proxy=http://127"):
            embed("embedder.invalid:8501", protocol, tls=tls)
    what, headers, _ = seen[0]
    assert what == "CONNECT embedder.invalid:8501"
    assert "proxy-authorization" not in headers


@pytest.mark.parametrize(
    "host, exceptions, direct",
    [
        ("a.example", "", False),
        ("a.example", "example", True),
        ("a.example", "b.example,*", False),
        ("a.example", "*", True),
        ("a.example", "a.example:7", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "11.0.0.0/8, x", False),
        ("fe80::1", "fe80::/10", True),
        ("127.9.9.9", "", True),
        ("::1", "", True),
        ("localhost", "", True),
        ("LocalHost.", "", True),
    ],
)
def test_who_needs_a_proxy(host, exceptions, direct, monkeypatch):
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    monkeypatch.setenv("no_proxy", exceptions)
    found = find_proxy(["https", "http"], host, 7)
    assert (found is None) == direct
    assert direct or found.url == "http://proxy.example:3128"


@pytest.mark.parametrize(
    "url", ["socks5://a:1", "http://", "http://a:99999", "[", "a:b"]
)
def test_no_http_proxy(url, monkeypatch):
    monkeypatch.setenv("http_proxy", url)
    with pytest.raises(UsageError, match="^http_proxy is no address of an HTTP proxy"):
        find_proxy(["http"], "a.example", 1)
