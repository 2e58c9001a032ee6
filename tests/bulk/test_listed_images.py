import os
from pathlib import Path

import pytest

from deml_tf.bulk.listed_images import ListedImage, list_images
from deml_tf.errors import DataError, UsageError


@pytest.fixture
def tree(tmp_path):
    names = ("b/2.jpg", "b/1.PNG", "a/deep/3.jpeg", "0.jpg", "b/notes.txt", ".x/4.jpg")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def shown(images, folder):
    return [(os.path.relpath(path, folder), label) for path, label in images]


ALL = [("0.jpg", None), ("a/deep/3.jpeg", "deep"), ("b/1.PNG", "b"), ("b/2.jpg", "b")]


def test_a_folder_at_any_depth(tree, capsys):
    assert shown(list_images(str(tree)), tree) == ALL
    assert "2 files or folders, such as" in capsys.readouterr().out


def test_paths_are_absolute(tree, monkeypatch):
    monkeypatch.chdir(tree.parent)
    for images in (tree.name, f"{tree.name}/", f"./{tree.name}", f"{tree.name}/**"):
        assert shown(list_images(images), tree) == ALL
        assert all(os.path.isabs(path) for path, _ in list_images(images))
    monkeypatch.chdir(tree)
    assert shown(list_images("*.jpg"), tree) == ALL[:1]
    assert shown(list_images("b"), tree) == [("b/1.PNG", None), ("b/2.jpg", None)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.jp*g", [*ALL[:2], ALL[3]]),
        ("*/*", ALL[2:]),
        ("[ab]/**", ALL[1:]),
        ("b/*.jpg", [("b/2.jpg", None)]),
        ("0.jpg", [("0.jpg", None)]),
    ],
)
def test_a_pattern(pattern, found, tree):
    assert shown(list_images(f"{tree}/{pattern}"), tree) == found


def test_a_pattern_follows_the_rule_of_folders(tree, monkeypatch):
    for name in ("@eaDir/0.jpg", "b/@eaDir/2.jpg", "b/._2.jpg"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    (tree / "b" / "up").symlink_to("..")
    (tree / "b" / "1.PNG").unlink()
    expected = list_images(str(tree))
    assert shown(expected, tree) == [ALL[0], ALL[1], ALL[3]]
    assert list_images(f"{tree}/**/*.jp*g") == expected
    assert shown(list_images(f"{tree}/*/*.jpg"), tree) == ALL[3:]
    monkeypatch.chdir(tree)
    assert list_images("**/*.jp*g") == expected
    (tree / "b" / "up").unlink()
    assert shown(list_images("*/**"), tree) == [ALL[1], ALL[3]]


def test_a_folder_whose_name_is_a_pattern(tree):
    (tree / "b").rename(tree / "[b]")
    assert len(list_images(f"{tree}/[b]")) == 2


def test_a_list_keeps_its_order_and_what_is_missing(tree):
    (tree / "list.csv").write_text(
        f"label,path,more\nx y,b/2.jpg,1\n,gone.jpg,2\n\n,{tree}/b/../0.jpg,\n"
    )
    expected = [("b/2.jpg", "x y"), ("gone.jpg", None), ("0.jpg", None)]
    assert shown(list_images(str(tree / "list.csv")), tree) == expected
    (tree / "list.txt").write_text("path\nb/2.jpg\nb/2.jpg\n")
    assert shown(list_images(str(tree / "list.txt")), tree) == [("b/2.jpg", None)] * 2


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).touch()
    assert list_images(str(tmp_path)) == [ListedImage(f"{tmp_path}/{name}", None)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,label\n", "lists no image; add rows"),
        ("file,label\na,b\n", "has no column path in its first line"),
        ("path,label\nb/2.jpg,b\nb/1.PNG\n,b\n", "line 3: 1 cells for 2 columns"),
        ("path,label\n,b\n", "line 2: the path is empty"),
        ("path\nno.jpg\nnone.jpg\n", "none of the images that .* exists, such as "),
    ],
)
def test_lists_that_are_refused(text, sentence, tree):
    (tree / "list.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        list_images(str(tree / "list.csv"))


def test_places_without_images(tree):
    (tree / "empty").mkdir()
    for name in ("empty", "empty/*.jpg", "b/*.txt"):
        with pytest.raises(UsageError, match="holds no images"):
            list_images(f"{tree}/{name}")
    with pytest.raises(UsageError, match="images=gone does not exist"):
        list_images("gone")


def test_a_folder_that_cannot_be_read(tree, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("deml_tf.data.image_files.find_image_files", refuse)
    with pytest.raises(UsageError, match=f"The folder {tree} cannot be read"):
        list_images(str(Path(tree)))


@pytest.mark.parametrize("images", ["", "*.jpg", "**/*.jpg"])
def test_the_folder_above_is_that_above_where_a_link_leads(images, tree):
    """Files of the same names lie where the text of the path leads."""
    for folder in ("here/b", "a/b"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "2.jpg").touch()
    (tree / "here/current").symlink_to(tree / "a" / "deep")
    found = list_images(f"{tree}/here/current/../b/{images}")
    assert [path for path, _ in found] == [f"{tree}/a/b/2.jpg"]
    (tree / "a/deep/list.csv").write_text("path\n../b/2.jpg\n")
    found = list_images(f"{tree}/here/current/list.csv")
    assert found == [(f"{tree}/a/b/2.jpg", None)]
