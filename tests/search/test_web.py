"""The web page and its API, over sockets on loopback."""

import html
import io
import json
import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
import requests
from PIL import Image

from deml_tf.bulk.index_reader import IndexReader
from deml_tf.errors import DataError
from tests.search.made_index import (
    BOXES,
    HOSTILE,
    IMAGES,
    LABELS,
    StubEmbedder,
    drawn,
    embedding_of,
    running,
    write_index,
)

pytest.importorskip("uvicorn")

from deml_tf.search.web_app import RUNNING  # noqa: E402

UPLOAD = {"image": ("q.png", drawn(1), "image/png")}


def until(condition):
    """Waits for something that other threads do."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come")


def test_a_label_of_blanks_that_are_spelled_out_is_found(tmp_path):
    r"""A page shows it as `a\\u3000b`, and sends it back like that."""
    files = [tmp_path / f"{n}.png" for n in range(4)]
    for n, file in enumerate(files):
        file.write_bytes(drawn(n))
    labels = ["a\u3000b", "a b", "a\u200cb", None]
    reader = IndexReader(write_index(tmp_path / "index", files, labels))
    with running(reader, StubEmbedder()) as url:
        _, page = read(f"{url}/")
        shown = [option["value"] for option in page.all("option")]
        assert sorted(shown) == ["a b", "a\\u200cb", "a\\u3000b"]
        for name in [*shown, *labels[:3]]:
            found = requests.get(f"{url}/", params={"label": name}, timeout=30)
            assert found.status_code == 200 and found.text.count("<figure") == 1
        asked = {"row": 0, "k": 3, "label": shown[-1]}
        answer = requests.post(f"{url}/api/search", json=asked, timeout=30)
        assert answer.status_code == 200


def sent():
    """Both ways to send an image: where to, and how."""
    return [("/api/search", {"data": drawn(1)}), ("/similar", {"files": UPLOAD})]


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def read(url):
    answer = requests.get(url, timeout=30)
    return answer.status_code, Page(answer.text)


@pytest.mark.parametrize("label", [None, "red", HOSTILE])
def test_the_api_answers_as_the_reader(post, reader, label):
    given = {"label": label} if label else {}
    status, said = post(drawn(1), k=7, **given)
    cosines, rows = reader.search(embedding_of(drawn(1))[None], 7, label=label)
    assert status == 200
    assert [hit["row"] for hit in said["results"]] == rows.ids[0].tolist()
    assert [hit["cosine"] for hit in said["results"]] == cosines[0].tolist()
    assert [hit["path"] for hit in said["results"]] == rows.paths[0].tolist()
    assert [hit["label"] for hit in said["results"]] == rows.labels[0].tolist()
    assert said["boxes"] == BOXES.tolist() == said["results"][0]["boxes"]
    assert (said["unknown"], said["threshold"]) == (False, 0.75)


def test_an_upload_of_another_format_is_converted(post, reader):
    with Image.open(io.BytesIO(drawn(1))) as image:
        file = io.BytesIO()
        image.save(file, "TIFF")
    assert post(file.getvalue(), k=7) == post(drawn(1), k=7)


def test_a_row_is_searched_for_without_itself(post, reader):
    status, said = post(given={"row": 5, "k": 3})
    _, rows = reader.search(embedding_of(drawn(5))[None], 4)
    assert status == 200 and rows.ids[0, 0] == 5
    assert [hit["row"] for hit in said["results"]] == rows.ids[0, 1:].tolist()
    assert post(given={"row": 5})[1]["results"][:3] == said["results"]
    assert len(post(given={"row": 5})[1]["results"]) == 20


def test_an_image_like_none_is_unknown(post, url):
    assert post(drawn(999))[1]["unknown"] is True
    answer = requests.post(
        f"{url}/similar", files={"image": drawn(999)}, data={"k": 3}, timeout=30
    )
    assert "Unknown." in answer.text
    assert "Unknown." not in requests.get(f"{url}/", timeout=30).text


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"k": 0}, 400, "k=0: give a whole number from 1 up to 200."),
        ({"k": 201}, 400, "k=201: give a whole number from 1 up to 200."),
        ({"k": "1e3"}, 400, "k=1e3: give a whole number from 1 up to 200."),
        (
            {"k": "9" * 5000},
            400,
            f"k={'9' * 40}: give a whole number from 1 up to 200.",
        ),
        ({"label": "blue"}, 400, "label=blue: no image of the index has it."),
        ({"label": "a\nb"}, 400, "label=a\\nb: no image of the index has it."),
    ],
)
def test_wrong_parameters(post, given, status, said):
    found, answer = post(drawn(1), **given)
    assert found == status and answer["error"].startswith(said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "The body is no JSON."),
        (b"[" * 2**16, "The body is no JSON."),
        (b"\xff", "The body is no JSON."),
        (b"[1]", 'The body is no JSON object such as {"row": 7}.'),
        (b"{}", 'The body names no row, such as {"row": 7}.'),
        (b'{"row": -1}', "row=-1: give a whole number from 0 on."),
        (b'{"row": true}', "row=: give a whole number from 0 on."),
        (b'{"row": 1.0}', "row=: give a whole number from 0 on."),
        (b'{"row": "../1"}', "row=../1: give a whole number from 0 on."),
        (b'{"row": 1, "label": [1]}', "label=[1]: no image of the index has it."),
        (b'{"row": 1, "k": {}}', "k=: give a whole number from 1 up to 200."),
    ],
)
def test_wrong_json(url, body, said):
    kind = {"content-type": "application/json"}
    answer = requests.post(f"{url}/api/search", body, headers=kind, timeout=30)
    assert (answer.status_code, answer.json()) == (400, {"error": said})


def test_huge_json(post):
    """Nothing else would be answered while it is parsed."""
    said = {"error": "The JSON is larger than 64 KiB."}
    assert post(given={"row": 1, "more": "x" * 2**16}) == (413, said)


def test_rows_that_are_not_there(post, url):
    for row in (IMAGES, 10**17):
        gone = {"error": f"The index has no row {row}."}
        assert post(given={"row": row}) == (404, gone)
        for place in ("image", "thumbnail", "similar?row="):
            slash = "" if "?" in place else "/"
            answer = requests.get(f"{url}/{place}{slash}{row}", timeout=30)
            assert answer.status_code == 404 and gone["error"] in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/image/../../../../etc/passwd",
        "/image/..%2f..%2f..%2fetc%2fpasswd",
        "/image/%2fetc%2fpasswd",
        "/image/%00",
        "/image/-1",
        "/image/0x1",
        "/image/1e0",
        "/image/" + "9" * 5000,
        "/image/\u0661".encode().decode("latin-1"),
        "/thumbnail/1.5",
        "/thumbnail/../style.css/../../setup.cfg",
        "//etc/passwd",
        "/etc/passwd",
        "/style.css/../page.html.jinja",
    ],
)
def test_no_path_is_served(url, path):
    """As it stands: clients would resolve the dots."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    status = int(answer.split()[1])
    assert 400 <= status < 500 and b"root:" not in answer and b"Traceback" not in answer


def test_a_file_that_is_no_image_any_more_is_not_sent(tmp_path, embedder):
    files = [tmp_path / f"{n}.png" for n in range(4)]
    for n, path in enumerate(files):
        path.write_bytes(drawn(n))
    index = write_index(tmp_path / "made", files, ["a"] * 4)
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0")
    files[1].unlink()
    files[1].symlink_to(secret)
    files[2].unlink()
    files[3].unlink()
    files[3].mkdir()
    with running(IndexReader(index), embedder) as url:
        for row, place in [(r, p) for r in (1, 2, 3) for p in ("image", "thumbnail")]:
            answer = requests.get(f"{url}/{place}/{row}", timeout=30)
            assert answer.status_code == 410 and "root:" not in answer.text
            assert str(tmp_path) not in answer.text
        answer = requests.post(f"{url}/api/search", json={"row": 2}, timeout=30)
        assert answer.status_code == 410
        assert answer.json()["error"] == (
            "The file of row 2 cannot be read (No such file or directory)."
        )
        assert requests.get(f"{url}/image/0", timeout=30).content == drawn(0)


def test_a_replaced_file_is_shown_and_embedded_anew(tmp_path, embedder):
    files = [tmp_path / f"{n}.png" for n in range(4)]
    for n, path in enumerate(files):
        path.write_bytes(drawn(n))
    index = IndexReader(write_index(tmp_path / "made", files, ["a"] * 4))
    with running(index, embedder) as url:

        def ask():
            small = requests.get(f"{url}/thumbnail/1", timeout=30)
            found = requests.post(f"{url}/api/search", json={"row": 1}, timeout=30)
            return small, found

        before = ask()
        calls = embedder.calls
        assert [a.content for a in ask()] == [a.content for a in before]
        assert embedder.calls == calls  # both are remembered
        files[1].write_bytes(drawn(2, size=(31, 20)))
        small, found = ask()
        assert small.status_code == 200 and small.content != before[0].content
        assert found.json()["results"][0]["row"] == 2
        files[1].unlink()
        assert [answer.status_code for answer in ask()] == [410, 410]


def test_images_are_sent_as_what_they_are(url, indexed):
    answer = requests.get(f"{url}/image/3", timeout=30)
    assert answer.content == indexed[1][3].read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    small = requests.get(f"{url}/thumbnail/3", timeout=30)
    assert small.headers["content-type"] == "image/jpeg"


def test_a_browser_shows_no_image_of_another_index(url, tmp_path, embedder):
    """What it keeps of an address, it asks for again: here after another start."""
    (tmp_path / "other.png").write_bytes(drawn(500))
    other = write_index(tmp_path / "made", [tmp_path / "other.png"] * 4, ["a"] * 4)
    for place in ("/image/3", "/thumbnail/3", "/style.css", "/script.js"):
        first = requests.get(f"{url}{place}", timeout=30)
        assert first.headers["cache-control"] == "private, no-cache"
        known = {"If-None-Match": f'"x", W/{first.headers["etag"]}'}
        again = requests.get(f"{url}{place}", headers=known, timeout=30)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        if "3" in place:
            with running(IndexReader(other), embedder) as restarted:
                new = requests.get(f"{restarted}{place}", headers=known, timeout=30)
            assert new.status_code == 200 and new.content != first.content


@pytest.mark.parametrize(
    "body", [b"no image", b"\xff\xd8\xff" + bytes(99), drawn(1)[:60], b"<svg></svg>"]
)
def test_broken_uploads(post, url, body):
    said = "The image cannot be used (it is no image): send a JPEG, PNG, GIF, BMP, "
    assert post(body) == (415, {"error": f"{said}WebP, TIFF, AVIF or HEIC file."})
    answer = requests.post(f"{url}/similar", files={"image": body}, timeout=30)
    assert answer.status_code == 415 and said in answer.text
    assert "Traceback" not in answer.text


def test_uploads_without_an_image(post, url):
    assert post(b"")[0] == 400
    for given in (
        {"files": {"image": b""}},
        {"files": {"other": drawn(1)}},
        {"data": {"image": "text"}},
        {"files": {"image": drawn(1), "more": drawn(2)}},
        {"data": b"x", "headers": {"content-type": "multipart/form-data"}},
        {
            "data": b"x",
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        },
    ):
        answer = requests.post(f"{url}/similar", timeout=30, **given)
        assert answer.status_code == 400, given
        assert "Traceback" not in answer.text and "verdict" in answer.text


def test_a_form_in_a_charset_that_decodes_nothing(url):
    kind = {"content-type": "multipart/form-data; boundary=b; charset=undefined"}
    head = b'Content-Disposition: form-data; name="image"; filename="a.png"'
    body = b"--b\r\n%s\r\n\r\nx\r\n--b--\r\n" % head
    answer = requests.post(f"{url}/similar", body, headers=kind, timeout=30)
    assert (
        answer.status_code == 400 and "cannot be decoded in the charset" in answer.text
    )


def test_huge_uploads(post, url):
    said = {"error": "The upload is larger than 0.2 MB."}
    assert post(bytes(200_001)) == (413, said)
    assert post(bytes(1_500_000)) == (413, said)  # all of it is read

    def endless():
        for _ in range(100):
            yield bytes(10_000)

    assert post(endless()) == (413, said)  # nothing tells its size
    answer = requests.post(
        f"{url}/similar", files={"image": bytes(250_000)}, timeout=30
    )
    assert answer.status_code == 413 and said["error"] in answer.text


def test_uploads_that_are_broken_off(reader, embedder, caplog):
    with running(reader, embedder) as url:
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        host, port = url.removeprefix("http://").split(":")
        for place, kind in (
            ("/api/search", "image/png"),
            ("/similar", "multipart/form-data; boundary=b"),
        ):
            request = f"POST {place} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}"
            request += "\r\nContent-Length: 1000\r\n\r\n--b\r\n"
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                connection.sendall(request.encode())
        assert requests.get(url, timeout=30).status_code == 200
    logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert not caplog.records


def test_a_form_leads_to_a_page_that_can_be_changed(url, reader):
    answer = requests.post(
        f"{url}/similar", files=UPLOAD, data={"k": 3, "label": HOSTILE}, timeout=30
    )
    assert [hop.status_code for hop in answer.history] == [303]
    page = Page(answer.text)
    _, rows = reader.search(embedding_of(drawn(1))[None], 3, label=HOSTILE)
    shown = [each["src"] for each in page.all("img")]
    assert shown[0].startswith("data:image/jpeg;base64,")
    assert shown[1:] == [f"/thumbnail/{row}" for row in rows.ids[0]]
    links = {each["href"] for each in page.all("a")}
    for row in rows.ids[0]:
        assert {f"/image/{row}", f"/similar?row={row}"} <= links
    rectangle = next(each for each in page.all("rect") if each["class"] == "scale1")
    edges = [rectangle[name] for name in ("x", "y", "width", "height")]
    assert edges == ["0.1250", "0.2500", "0.7500", "0.5000"]
    (name,) = [e["value"] for e in page.all("input") if e.get("name") == "query"]
    status, again = read(f"{url}/similar?query={name}&k=5&label=")
    assert status == 200 and len(again.all("img")) == 6
    status, gone = read(f"{url}/similar?query=x{name}&k=5")
    assert status == 404 and "This upload is forgotten" in gone.text


def test_text_is_escaped(url):
    pages = [f"{url}/", f"{url}/similar?row=2&k=40", f"{url}/?label={HOSTILE}"]
    pages += [f"{url}/?label=<script>x", f"{url}/<script>x", f"{url}/?page=<script>"]
    for place in pages:
        answer = requests.get(place, timeout=30)
        page = Page(answer.text)
        assert page.all("script") == [{"src": "/script.js", "defer": None}], place
        assert not [tag for tag, given in page.tags if "onerror" in given]
        assert not re.search(r"<[a-z]+ [^>]*\bstyle=", answer.text)
    _, page = read(pages[1])
    titles = {each.get("title") for each in page.all("a")}
    assert any('<img src=x onerror="alert(1)">.png' in str(t) for t in titles)
    assert HOSTILE in page.text
    assert html.escape(HOSTILE, quote=False) not in page.text


def test_pages_of_the_index(url, reader, tmp_path_factory, embedder):
    _, page = read(f"{url}/?label=green")
    expected = [n for n in range(IMAGES) if LABELS[n % len(LABELS)] == "green"]
    assert [e["src"] for e in page.all("img")] == [f"/thumbnail/{n}" for n in expected]
    assert read(f"{url}/?page=2")[0] == 400  # all fit on one
    assert read(f"{url}/?page=0")[0] == 400

    folder = tmp_path_factory.mktemp("many")
    (folder / "0.png").write_bytes(drawn(0))
    index = write_index(folder / "made", [folder / "0.png"] * 121, [None] * 121)
    with running(IndexReader(index), embedder) as other:
        sizes, nexts = [], []
        for number in (1, 2, 3):
            status, page = read(f"{other}/?page={number}")
            sizes.append(len(page.all("img")))
            nexts.append([e["href"] for e in page.all("a") if e.get("rel") == "next"])
            assert status == 200
        assert sizes == [60, 60, 1]
        assert nexts == [["/?page=2"], ["/?page=3"], []]
        assert read(f"{other}/?page=4")[0] == 400


def test_headers_of_every_answer(url):
    answers = [
        requests.get(f"{url}{p}", timeout=30) for p in ("/", "/none", "/image/1")
    ]
    answers += [requests.post(f"{url}/api/search", b"x", timeout=30)]
    answers += [requests.get(url, headers={"Host": "evil.example"}, timeout=30)]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';") and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 400),
        ("127.0.0.1.evil.example:80", 400),
        ("localhost", 200),
        ("localhost:9", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("", 400),
    ],
)
def test_other_names_of_this_machine_are_refused(url, host, status):
    for place in ("/", "/image/1"):
        answer = requests.get(f"{url}{place}", headers={"Host": host}, timeout=30)
        assert answer.status_code == status


def test_a_proxy_asks_by_its_own_name(reader, embedder):
    with running(reader, embedder, names=["Search.example.org"]) as url:
        for host, status in (
            ("search.example.org", 200),
            ("SEARCH.example.org:443", 200),
            ("127.0.0.1", 200),
            ("other.example.org", 400),
        ):
            answer = requests.get(url, headers={"Host": host}, timeout=30)
            assert answer.status_code == status, host
        sent = {"Host": "search.example.org", "Origin": "https://search.example.org"}
        answer = requests.post(f"{url}/similar", files=UPLOAD, headers=sent, timeout=30)
        assert answer.history[0].status_code == 303


def test_pages_of_other_sites_cannot_send(url):
    for origin, status in (("http://evil.example", 403), ("null", 403), (url, 200)):
        for place, given in (
            ("/api/search", {"data": drawn(1)}),
            ("/similar", {"files": UPLOAD}),
        ):
            headers = {"Origin": origin}
            answer = requests.post(
                f"{url}{place}", headers=headers, timeout=30, **given
            )
            assert answer.status_code == status


def test_32_clients_at_once_lose_nothing(url, reader, embedder):
    embedder.most_inside = 0

    def ask(n):
        body = drawn(n % IMAGES, (60, 40))
        if n % 3:
            answer = requests.post(f"{url}/api/search?k=1", body, timeout=60)
            return answer.json()["results"][0]["row"]
        answer = requests.get(f"{url}/image/{n % IMAGES}", timeout=60)
        return n % IMAGES if answer.content == drawn(n % IMAGES) else None

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(ask, range(32 * 5)))
    assert found == [n % IMAGES for n in range(32 * 5)]
    assert embedder.most_inside == 1


def test_others_are_answered_while_an_image_is_embedded(reader):
    slow = StubEmbedder()
    slow.wait = threading.Event()
    with running(reader, slow) as url, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(requests.post, f"{url}/api/search", drawn(1), timeout=60)
        until(lambda: slow.inside)
        assert requests.get(f"{url}/", timeout=30).status_code == 200
        assert requests.get(f"{url}/thumbnail/1", timeout=30).status_code == 200
        assert slow.inside == 1 and not waiting.done()
        slow.wait.set()
        assert waiting.result().status_code == 200


def test_all_thumbnails_of_two_pages_are_sent_at_once(reader, embedder):
    with (
        running(reader, embedder, running=2, waiting=10) as url,
        ThreadPoolExecutor(80) as pool,
    ):
        places = [f"{url}/thumbnail/{n % IMAGES}" for n in range(80)]
        answers = list(pool.map(lambda place: requests.get(place, timeout=60), places))
    assert {answer.status_code for answer in answers} == {200}


def test_too_many_at_once_are_refused(reader):
    slow = StubEmbedder()
    slow.wait = threading.Event()
    with (
        running(reader, slow, running=2, waiting=3) as url,
        ThreadPoolExecutor(12) as pool,
    ):
        asked = [
            pool.submit(requests.post, f"{url}/api/search", drawn(1), timeout=60)
            for _ in range(12)
        ]
        until(lambda: sum(each.done() for each in asked) >= 7)
        slow.wait.set()
        answers = [each.result() for each in asked]
    assert sorted(a.status_code for a in answers) == [200] * 5 + [503] * 7
    refused = next(a for a in answers if a.status_code == 503)
    assert refused.headers["retry-after"] == "2"
    assert refused.json()["error"].startswith("Too many requests")


def test_a_slow_embedder_does_not_take_all_turns(reader):
    """However many send images: pages do not wait for them."""
    slow = StubEmbedder()
    slow.wait = threading.Event()
    with running(reader, slow) as url, ThreadPoolExecutor(24) as pool:
        assert RUNNING < 24
        asked = [
            pool.submit(
                requests.post,
                f"{url}/api/search",
                drawn(1) if n % 2 else None,
                None if n % 2 else {"row": 1},
                timeout=60,
            )
            for n in range(24)
        ]
        try:
            until(lambda: slow.inside)
            assert requests.get(f"{url}/", timeout=30).status_code == 200
        finally:
            slow.wait.set()
        assert {each.result().status_code for each in asked} == {200}


def test_what_fails_inside_stays_inside(reader, capfd):
    class Broken:
        def embed(self, encoded):
            raise RuntimeError("secret")

    class Down:
        def embed(self, encoded):
            raise DataError("server=10.0.0.1:8500 cannot be reached")

    for embedder, status in ((Broken(), 500), (Down(), 502)):
        with running(reader, embedder) as url:
            for place, given in sent():
                answer = requests.post(f"{url}{place}", timeout=30, **given)
                assert answer.status_code == status
                assert "secret" not in answer.text and "10.0.0.1" not in answer.text
                assert "Traceback" not in answer.text and "terminal" in answer.text
                assert "content-security-policy" in answer.headers
    assert "10.0.0.1" in capfd.readouterr().err


def test_methods_and_addresses_that_there_are_not(url):
    assert requests.get(f"{url}/api/search", timeout=30).json() == {
        "error": "This address takes no GET request."
    }
    assert requests.put(f"{url}/", timeout=30).status_code == 405
    answer = requests.get(f"{url}/none", timeout=30)
    assert answer.status_code == 404 and "There is no such page." in answer.text
    assert requests.head(f"{url}/", timeout=30).status_code == 200


def test_answers_are_json_that_every_reader_takes(post):
    text = json.dumps(post(drawn(1))[1], allow_nan=False)
    assert np.isfinite(json.loads(text)["best_cosine"])
