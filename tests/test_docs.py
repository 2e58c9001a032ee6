"""The pages for readers: what they name is there."""

import re
from pathlib import Path

import pytest

from deml_tf.data.sets import SETS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "export" / "README.md"]
)


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def sections(page):
    """Anchors of a page's headings, as trackers spell them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in sections(linked), target


# The changelog names what was.
@pytest.mark.parametrize(
    "page", sorted({*PAGES} - {ROOT / "CHANGELOG.md"}), ids=name_of
)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`((?:[\w.]+/)+(?:[\w.]+\.(?:py|cfg|md))?)`", page.read_text())
    made = ("runs/", "export/models/", "images/", "checkpoints/", "tensorboard/")
    made += ("assets.extra/", "car_ims/", "Img/", "img/", "dist/")
    for name in named:
        if not name.startswith(made):
            assert (ROOT / name).exists() or (ROOT / "deml_tf" / name).exists(), name


def test_every_guide_is_listed():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 200
    for page in PAGES:
        name = name_of(page)
        assert name == "README.md" or f"({name})" in readme


def test_every_data_set_and_config_is_explained():
    text = (ROOT / "docs" / "data.md").read_text()
    for name in SETS:
        assert f"`{name}`" in text
    for path in (ROOT / "configs").glob("*.cfg"):
        if not path.name.startswith(("cub200_2010", "smoke")):
            assert f"`{path.name}`" in text
