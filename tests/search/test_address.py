import re
import socket

import pytest

from deml_tf.errors import UsageError
from deml_tf.search.address import Address, listen, read_address, read_host_names


@pytest.mark.parametrize(
    ("typed", "host", "port", "loopback", "url"),
    [
        ("8000", "127.0.0.1", 8000, True, "http://127.0.0.1:8000/"),
        ("127.0.0.2:0", "127.0.0.2", 0, True, "http://127.0.0.2:0/"),
        ("localhost:80", "localhost", 80, True, "http://localhost:80/"),
        ("[::1]:80", "::1", 80, True, "http://[::1]:80/"),
        ("0.0.0.0:80", "0.0.0.0", 80, False, "http://0.0.0.0:80/"),
        ("[::]:80", "::", 80, False, "http://[::]:80/"),
        ("birds.example:80", "birds.example", 80, False, "http://birds.example:80/"),
        ("localhost.example:80", "localhost.example", 80, False, None),
    ],
)
def test_addresses(typed, host, port, loopback, url):
    address = read_address(typed)
    assert address == (host, port)
    assert address.is_loopback is loopback
    assert url in (None, address.url)
    assert ("*" in address.allowed_hosts()) is not loopback
    named = address.allowed_hosts(["Search.example.org"])
    assert "search.example.org" in named and "*" not in named


def test_names_by_which_a_loopback_address_is_asked():
    own = set(Address("127.0.0.1", 80).allowed_hosts())
    assert own == {"localhost", "127.0.0.1", "[::1]"}
    assert "127.0.0.9" in Address("127.0.0.9", 80).allowed_hosts()


def test_names_of_a_proxy():
    names = ["search.example.org", "[::2]", "192.0.2.1"]
    assert read_host_names(names) == names
    for wrong in (
        "",
        "*",
        "*.example.org",
        "a:80",
        "http://a",
        "::2",
        "bücher.example",
    ):
        with pytest.raises(UsageError, match=f"host_name={re.escape(wrong)}: write a"):
            read_host_names(["a", wrong])


@pytest.mark.parametrize("typed", ["", ":80", "a b:1", "host:", "host", "h:٣", "h:-1"])
def test_what_is_no_address(typed):
    with pytest.raises(UsageError, match="write PORT or HOST:PORT"):
        read_address(typed)


def test_a_port_beyond_the_last_one():
    with pytest.raises(UsageError, match="serve=65536: give a port up to 65535"):
        read_address("65536")


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=f"serve=127.0.0.1:{port} cannot be served"
        ):
            listen(Address("127.0.0.1", port))
    listening, address = listen(Address("127.0.0.1", 0))
    with listening:
        assert address.port == listening.getsockname()[1] > 0


def test_an_address_of_another_machine():
    with pytest.raises(UsageError, match="name another port, or an address of this"):
        listen(Address("192.0.2.1", 8000))
