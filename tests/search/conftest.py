"""One index and one server for all tests of this folder."""

import pytest
import requests

from deml_tf.bulk.index_reader import IndexReader
from tests.search.made_index import (
    IMAGES,
    LABELS,
    StubEmbedder,
    drawn,
    running,
    write_index,
)


@pytest.fixture(scope="session")
def indexed(tmp_path_factory):
    """Folder of an index, and its images by row."""
    folder = tmp_path_factory.mktemp("indexed")
    place = folder / "images <b>&'\""
    place.mkdir()
    files = [
        place / f'{n:02d} <img src=x onerror="alert(1)">.png' for n in range(IMAGES)
    ]
    for n, path in enumerate(files):
        path.write_bytes(drawn(n))
    labels = [LABELS[n % len(LABELS)] for n in range(IMAGES)]
    return write_index(folder, files, labels), files


@pytest.fixture(scope="session")
def reader(indexed):
    return IndexReader(indexed[0])


@pytest.fixture(scope="session")
def embedder():
    return StubEmbedder()


@pytest.fixture(scope="session")
def url(reader, embedder):
    pytest.importorskip("uvicorn")
    with running(reader, embedder) as address:
        yield address


@pytest.fixture
def post(url):
    """Posts to the API; gives the status and what it says."""

    def ask(body=None, *, given=None, **parameters):
        answer = requests.post(
            f"{url}/api/search", data=body, json=given, params=parameters, timeout=30
        )
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json()

    return ask
