import os

import pytest

from deml_tf.data.parent_folders import resolve_parents


@pytest.mark.parametrize("beginning", ["", "/", "here/..//", "here/sub/../../"])
@pytest.mark.parametrize("end", ["a.png", "sub/a.png", "none.png"])
def test_a_path_of_the_same_file_without_parents(beginning, end, tmp_path, monkeypatch):
    """After a link, the folder above is not that of the link."""
    (tmp_path / "there/lists").mkdir(parents=True)
    (tmp_path / "here/sub").mkdir(parents=True)
    (tmp_path / "here/current").symlink_to("../there/lists")
    for place in ("here", "there"):
        (tmp_path / place / "sub").mkdir(exist_ok=True)
        for name in ("a.png", "sub/a.png"):
            (tmp_path / place / name).touch()
    monkeypatch.chdir(tmp_path)
    beginning = f"{tmp_path}/" if beginning == "/" else beginning
    path = f"{beginning}here/current/../{end}"
    found = resolve_parents(path)
    assert os.path.realpath(found) == f"{tmp_path}/there/{end}"
    assert ".." not in found.split("/")
    assert os.path.exists(found) == os.path.exists(path)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/b", "a/b"),
        ("../../a", "../../a"),
        ("./../a/", "../a"),
        ("/a/../../b", "/b"),
        ("..", ".."),
        ("a/..", "."),
        ("a..b/..c", "a..b/..c"),
        ("a/b/../../../c", "../c"),
        ("a/../b\0", "b\0"),
    ],
)
def test_where_there_is_no_link_the_text_is_shortened(path, found, tmp_path):
    """So that an image has one path, whatever link leads to all of them."""
    assert resolve_parents(path) == found
    (tmp_path / "there/sub").mkdir(parents=True)
    (tmp_path / "data").symlink_to("there")
    image = resolve_parents(f"{tmp_path}/data/sub/../a.png")
    assert image == f"{tmp_path}/data/a.png"
