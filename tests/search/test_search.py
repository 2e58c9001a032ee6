"""The command, as a user types it; mistakes are typed in tests/bad_input."""

import contextlib
import json
import re
import shutil
import signal
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
import requests

from deml_tf.errors import DataError
from deml_tf.search import __main__ as search
from tests.client.double_process import MODEL, Local, exported_once
from tests.search.made_index import drawn

pytestmark = pytest.mark.slow

ABOUT = {
    "name": MODEL,
    "version": 1,
    "weights_sha256": "5" * 64,
    "precision": "float32",
    "embedding": {"size": 24, "parts": {"scales": 1, "learners": 2, "size": 12}},
    "threshold": {"cosine": 2.0},  # above every cosine
    "preprocessing": {},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models, of which one is described."""
    folder = tmp_path_factory.mktemp("models") / "served"
    shutil.copytree(exported_once(tmp_path_factory), folder)
    place = folder / MODEL / "1" / "assets.extra"
    place.mkdir(exist_ok=True)
    (place / "deml.json").write_text(json.dumps(ABOUT))
    return folder


@pytest.fixture(scope="module")
def export(models):
    return models / MODEL / "1"


@pytest.fixture(scope="module")
def index(export, painted, command, tmp_path_factory):
    """What embed and index make of forty images in eight classes."""
    folder = tmp_path_factory.mktemp("made")
    for module, *flags in (
        ("embed", f"--export={export}", f"--images={painted}", "--output={}/e"),
        ("index", "--embeddings={}/e", "--output={}/i"),
    ):
        status, _, errors = command(module, *(f.format(folder) for f in flags))
        assert status == 0, errors
    return folder / "i"


def test_one_image_is_searched_for(index, export, painted, command, tmp_path):
    query = painted / "class 03" / "2.png"
    given = [f"--index={index}", f"--image={query}", f"--export={export}", "--k=3"]
    page = tmp_path / "new" / "page.html"
    status, printed, errors = command("search", *given, f"--output={page}")
    assert status == 0, errors
    lines = printed.splitlines()
    assert lines[0].split() == ["rank", "cosine", "label", "path"]
    assert re.fullmatch(rf" *1 +(1\.0000|0\.9999) +class 03 +{query} *", lines[1])
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert re.fullmatch(
        r"unknown: the best cosine is (1\.000|0\.999), and below 2\.000 no match is to "
        r"be believed\.",
        lines[4],
    )
    assert lines[5] == f"Page: {page}" and len(lines) == 6
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 4 and "unknown" in text


def test_a_label_narrows_the_search(index, export, painted, command):
    query = painted / "class 03" / "2.png"
    given = [f"--index={index}", f"--image={query}", f"--export={export}"]
    status, printed, errors = command("search", *given, "--label=class 01")
    assert status == 0, errors
    rows = printed.splitlines()[1:-1]
    assert len(rows) == 5 and all(" class 01 " in row for row in rows)


def test_a_server_embeds_the_image(index, models, export, painted, command):
    query = painted / "class 03" / "2.png"
    common = [f"--index={index}", f"--image={query}", "--k=4"]
    double = Local(models)
    try:
        for protocol in ("grpc", "rest"):
            where = [f"--server={double.address(protocol)}", f"--protocol={protocol}"]
            answers = [
                command("search", *common, *flags)
                for flags in (where, [f"--export={export}"])
            ]
            assert [status for status, _, _ in answers] == [0, 0], answers
            paths = [re.findall(r"\S+/class.*\.png", said) for _, said, _ in answers]
            assert len(paths[0]) == 4 and paths[0] == paths[1]
        where = f"--server={double.address('rest')}", "--protocol=rest", "--model=other"
        status, _, errors = command("search", *common, *where)
        assert status == 2 and errors.startswith("error: --model=other: ")
    finally:
        double.close()


def test_a_server_is_asked_for_the_version_of_the_index(reader, monkeypatch):
    """And is reached in the way that the flags name."""
    made = {}

    @contextlib.contextmanager
    def client(server, model, **given):
        made.update(given, server=server, model=model)
        yield

    monkeypatch.setattr(search, "Client", client)
    flags = {"server": "far:8501", "protocol": "rest", "tls": True, "ca": "ca.pem"}
    flags |= {"model": None, "export": None, "serve": None, "header": ["key=secret"]}
    monkeypatch.setattr(search, "FLAGS", SimpleNamespace(**flags))
    with search.embedding(reader):
        pass
    assert made == {
        "server": "far:8501",
        "model": "birds",
        "protocol": "rest",
        "version": 3,
        "concurrency": 1,
        "tls": True,
        "ca": "ca.pem",
        "headers": {"key": "secret"},
    }


def test_a_page_does_not_wait_long_for_a_model_server(reader, monkeypatch):
    """One that takes connections and says nothing: the next images wait for it."""
    assert search._PATIENCE["total_timeout"] <= 30
    monkeypatch.setitem(search._PATIENCE, "total_timeout", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        flags = {"server": f"127.0.0.1:{hung.getsockname()[1]}", "protocol": "rest"}
        flags |= dict.fromkeys(("export", "model", "ca"), None)
        given = SimpleNamespace(**flags, tls=False, header=[], serve="8000")
        monkeypatch.setattr(search, "FLAGS", given)
        with search.embedding(reader) as embedder:
            assert embedder._client.total_timeout == 0.3
            with pytest.raises(DataError, match="does not answer in time"):
                embedder.embed(drawn(1))


def test_a_page_is_served_until_the_end(index, export, painted, start):
    pytest.importorskip("uvicorn")
    given = [f"--index={index}", f"--export={export}", "--serve=0", "--max_upload=0.1"]
    process = start("search", *given, "--k=2")
    line = process.stdout.readline()
    found = re.fullmatch(
        r"40 images at (http://127.0.0.1:\d+/) \(Ctrl-C ends it\)\n", line
    )
    assert found, line + process.communicate()[1]
    image = (painted / "class 03" / "2.png").read_bytes()
    answer = requests.post(f"{found[1]}api/search", image, timeout=60)
    assert answer.status_code == 200
    nearest, _ = answer.json()["results"]
    assert nearest["path"].endswith("/class 03/2.png") and nearest["cosine"] > 0.9999
    assert len(nearest["boxes"]) == 1 and answer.json()["unknown"] is True
    answer = requests.post(f"{found[1]}api/search", b"no image", timeout=60)
    assert answer.status_code == 415 and "Unknown image" in answer.json()["error"]
    answer = requests.post(f"{found[1]}api/search", bytes(100_001), timeout=60)
    assert answer.status_code == 413
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143
    assert errors == "error: Terminated: nothing is searched any more.\n"


def test_other_machines_are_warned_of(index, export, start):
    pytest.importorskip("uvicorn")
    flags = [f"--index={index}", f"--export={export}", "--serve=0.0.0.0:0"]
    process = start("search", *flags)
    said = process.stdout.readline()
    assert said.startswith("40 images at http://0.0.0.0:")
    port = re.findall(r":(\d+)", said)[0]
    with contextlib.suppress(urllib.error.HTTPError):  # when it answers, it serves
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == (
        "warning: --serve=0.0.0.0:0 is reached from other machines: whoever can reach "
        "it sees every indexed image and its path, for there is no password and no "
        "encryption.\nerror: Interrupted: nothing is searched any more.\n"
    )


def test_another_model_is_refused(index, models, command, painted):
    other = models / "other" / "2"
    (other / "assets.extra").mkdir(parents=True)
    (other / "saved_model.pb").write_bytes(b"")
    about = ABOUT | {"name": "other", "version": 2, "weights_sha256": "7" * 64}
    (other / "assets.extra" / "deml.json").write_text(json.dumps(about))
    image = painted / "class 03" / "2.png"
    status, printed, errors = command(
        "search", f"--index={index}", f"--image={image}", f"--export={other}"
    )
    assert (status, printed) == (1, "")
    assert errors == (
        "error: the queries come from other 2 (weights 777777777777), and "
        f"--index={index} holds embeddings of {MODEL} 1 (weights 555555555555), which "
        f"cannot be compared: embed with {MODEL} 1, or build an index of other 2.\n"
    )
