"""The page of one query, as a browser reads it."""

import re
from html.parser import HTMLParser

from deml_tf.search.found import find
from deml_tf.search.query import Query
from deml_tf.search.result_page import write_result
from tests.search.made_index import BOXES, HOSTILE, drawn, embedding_of


class Page(HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def written(path, reader, seed, **options):
    query = Query(embedding_of(drawn(seed)), BOXES)
    found = find(reader, query, 5, **options)
    facts = [("index", HOSTILE)]
    name = "/x/<b>q</b>.png"
    encoded = drawn(seed)
    write_result(
        path, name=name, encoded=encoded, query=query, found=found, facts=facts
    )
    source = path.read_text(encoding="utf-8")
    return found, Page(source), source


def test_pictures_cosines_and_labels(reader, tmp_path):
    found, page, source = written(tmp_path / "a.html", reader, 2, label=HOSTILE)
    images = [given["src"] for tag, given in page.tags if tag == "img"]
    assert len(images) == 6
    assert all(image.startswith("data:image/jpeg;base64,") for image in images)
    for rank, hit in enumerate(found.hits, start=1):
        assert f"{rank}. {hit.cosine:.3f}" in page.text
    assert page.text.count(HOSTILE) >= 5
    assert "nothing" not in page.text and "unknown" not in page.text
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "b"}
    assert not re.search(r"https?:|onerror=\"|@import", source)


def test_the_boxes_are_in_the_pictures(reader, tmp_path):
    source = written(tmp_path / "a.html", reader, 2)[2]
    before = re.findall(r"base64,([^\"]+)", source)[0]
    flat = Query(embedding_of(drawn(2)), BOXES * float("nan"))
    write_result(
        tmp_path / "b.html",
        name="q",
        encoded=drawn(2),
        query=flat,
        found=find(reader, flat, 1),
        facts=[],
    )
    after = re.findall(r"base64,([^\"]+)", (tmp_path / "b.html").read_text())[0]
    assert before != after


def test_an_unknown_image_is_called_so(reader, tmp_path):
    found, page, _ = written(tmp_path / "a.html", reader, 999)
    assert found.unknown and found.verdict in page.text
