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
    "path", ["a/b", "../../a", "/a/b", ".", "..", "a..b/..c", "a/../b\0", "./../a/"]
)
def test_other_paths_are_left_alone(path):
    assert resolve_parents(path) == path
