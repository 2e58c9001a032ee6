import os
from pathlib import Path

import pytest
from PIL import Image

from deml_tf.config import DataConfig
from deml_tf.data import boxes
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples
from deml_tf.data.sets.image_list import read_list
from deml_tf.errors import DataError

SCENES = Path(__file__).parents[3] / "../shared/data/cub200_2010_scenes"


def read(where):
    return read_examples(DataConfig("list", str(where)))


@pytest.fixture
def birds(tmp_path):
    """Images of 20 x 10 pixels, and a function that writes a list of them."""
    for name in ("a", "b", "c"):
        (tmp_path / "img").mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / f"img/{name}.png")

    def write(text, name="list.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_list_with_everything(birds):
    where = birds(
        "Split, PATH ,id,label,x,y,w,h\n"
        "train,img/a.png,7,a bird,5,1,10,4\n"
        "\n"
        'Test,img/b.png,8,"Möwe, die",,,,\n'
        f"validation,{birds('')}/img/c.png,9,c,-1.5,0,99,20\n"
    )
    found = read(where)
    assert found == [
        Example(f"{where}/img/a.png", "a bird", "train", (0.1, 0.25, 0.5, 0.75)),
        Example(f"{where}/img/b.png", "Möwe, die", "test"),
        Example(f"{where}/img/c.png", "c", "validation", (0.0, 0.0, 1.0, 1.0)),
    ]
    assert read_list(where / "list.csv") == found
    assert read(where / "list.csv") == found


@pytest.mark.parametrize(
    ("name", "separator"), [("list.tsv", "\t"), ("list.csv", ";"), ("list.csv", "\t")]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_line_ends_and_byte_order_mark(name, separator, end, birds):
    rows = [["path", "label"], ["img/a.png", "a, b"], ["./img/../img/b.png", "b"]]
    where = birds("\ufeff" + end.join(separator.join(row) for row in rows), name)
    assert read(where) == [
        Example(f"{where}/img/a.png", "a, b"),
        Example(f"{where}/img/b.png", "b"),
    ]


def test_queries_and_gallery(birds):
    where = birds("path,label,split\nimg/a.png,a,Query\nimg/b.png,a,gallery\n")
    assert [e.split for e in read_list(where / "list.csv")] == ["query", "gallery"]


def test_sizes_are_read_for_boxes_alone(birds, monkeypatch):
    where = birds("path,label,x,y,w,h\nimg/a.png,a,0,0,5,5\nimg/b.png,b,,,,\n")
    opened = []
    monkeypatch.setattr(
        boxes.Image, "open", lambda p, f=Image.open: opened.append(p.name) or f(p)
    )
    read(where)
    assert opened == [f"{where}/img/a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column path and no column label in its first line"),
        ("img/a.png,a\n", "has no column path and no column label"),
        ("path,x\nimg/a.png,1\n", "has no column label in its first line"),
        ("path,label,x,w\n", "has the column x, w without the others of x, y, w, h"),
        ("path,label,Label\n", "has the column label twice"),
        ("path,label\n\n", "list.csv lists no image; add rows"),
        ("path,label\nimg/a.png\n", "list.csv, line 2: 1 cells for 2 columns"),
        ("path,label\nimg/a.png,a,b\n", "line 2: 3 cells for 2 columns"),
        ("path,label\nimg/a.png,a\n\n,b\n", "line 4: the path is empty"),
        ("path,label\nimg/a.png, \n", "line 2: the label is empty; correct the list$"),
        ("path,label\nimg/x.png,a\n", "line 2: there is no file .*/img/x.png; "),
        ("path,label\nimg/\0.png,a\n", r"line 2: the path '.*\\x00.png' holds a null"),
        ("path,label\n\0/x.png,a\n", r"line 2: the path '.*\\x00/x.png' holds a null"),
        ("path,label\nno/x.png,a\nno/y.png,a\n,a\n", r"x.png; .* \(2 more lines are w"),
        ("path,label\nimg/a.png,a\nimg/./a.png,b\n", "line 3: .* is listed in line 2"),
        (
            "path,label,split\nimg/a.png,a,dev\n",
            "split is 'dev', not one of train, validation, test, query, gallery",
        ),
        ("path,label,x,y,w,h\nimg/a.png,a,1,2,3,\n", "x,y,w,h is 1,2,3,: not four num"),
        ("path,label,x,y,w,h\nimg/a.png,a,1,2,3,x\n", "1,2,3,x: not four numbers"),
        (
            "path,label,x,y,w,h\nimg/a.png,a,1,2,0,3\n",
            "1,2,0,3 holds nothing of the 20",
        ),
        ("path,label,x,y,w,h\nimg/a.png,a,25,2,9,3\n", "holds nothing of the 20 x 10"),
        ("path,label,x,y,w,h\nimg/a.png,a,1,nan,9,3\n", "1,nan,9,3 holds nothing"),
        ("path,label,x,y,w,h\nimg/a.png,a,1,2,inf,3\n", "1,2,inf,3 holds nothing"),
        ('path,label\nimg/a.png,"a\n', "after line .*; save the list as UTF-8 text"),
    ],
)
def test_bad_lists(text, message, birds):
    where = birds(text)
    with pytest.raises(DataError, match=message):
        read(where)


def test_an_unreadable_image_has_no_box(birds):
    """The scan says so, or skips it."""
    where = birds("path,label,x,y,w,h\nlist.csv,a,1,2,9,3\nimg/a.png,a,0,0,10,10\n")
    assert [e.box for e in read(where)] == [
        None,
        (0, 0, 1, 0.5),
    ]


def test_list_in_another_encoding(tmp_path):
    (tmp_path / "list.csv").write_bytes("path,label\nx.png,Möwe\n".encode("latin-1"))
    with pytest.raises(DataError, match="save the list as UTF-8"):
        read(tmp_path)


@pytest.mark.skipif(not SCENES.exists(), reason="the photographs are not here")
def test_scenes_of_birds():
    found = read(SCENES)
    assert len(found) == 6033
    assert len({example.label for example in found}) == 200
    # Its README: square boxes of 0.35 to 0.7 of a 256-pixel image.
    for example in found:
        assert example.box is not None and example.split is None
        ymin, xmin, ymax, xmax = example.box
        assert 0 <= ymin < ymax <= 1 and 0 <= xmin < xmax <= 1
        assert 0.33 < ymax - ymin < 0.72 and abs(ymax - ymin - xmax + xmin) < 1e-6
    assert found[0].box == (11 / 256, 20 / 256, 185 / 256, 194 / 256)


def test_images_beside_a_list_named_alone(birds, monkeypatch):
    monkeypatch.chdir(birds("path,label\nx.png,a\n"))
    Path("x.png").touch()
    assert read("list.csv") == [Example("x.png", "a")]


def test_paths_above_the_folder_that_a_link_leads_to(birds):
    """The text of the path leads to another file."""
    where = birds("")
    (where / "lists").mkdir()
    birds("path,label\n../img/a.png,a\n", "lists/list.csv")
    (where / "here/img").mkdir(parents=True)
    (where / "here/img/a.png").touch()
    (where / "here/current").symlink_to("../lists")
    assert read(where / "here/current/list.csv") == [Example(f"{where}/img/a.png", "a")]


def test_a_quote_after_a_blank(birds):
    where = birds('path, "label"\nimg/a.png, "a, b"\nimg/b.png ,  5" pipe\n')
    assert [e.label for e in read(where)] == ["a, b", '5" pipe']


def test_what_is_no_image_is_for_the_scan_to_tell(birds):
    where = birds("path,label,x,y,w,h\nimg,a,,,,\nimg/pipe,b,0,0,1,1\nimg/loop,c,,,,\n")
    os.mkfifo(where / "img/pipe")
    (where / "img/loop").symlink_to("loop")
    assert [e.label for e in read(where)] == ["a", "b", "c"]


def test_files_that_a_disk_finds_by_other_names_than_it_lists(birds, monkeypatch):
    """One that ignores case does; only what is not listed is asked for."""
    where = birds("path,label\nimg/a.png,a\nimg/b.png,b\nimg/x.png,c\n")
    listed, exists, asked = os.listdir, os.path.lexists, []
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "listdir", lambda p: [name.replace("b", "B") for name in listed(p)]
        )
        patch.setattr(os.path, "lexists", lambda p: asked.append(p) or exists(p))
        with pytest.raises(DataError, match=r"line 4: .*/img/x.png; correct the list$"):
            read(where)
    assert asked == [f"{where}/img/b.png", f"{where}/img/x.png"]


def test_a_list_and_folders_that_cannot_be_read(birds, monkeypatch):
    """Root may read everything, so permission is taken from the functions."""
    where = birds("path,label\nimg/a.png,a\n")

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        assert len(read(where)) == 1  # to look into it is not needed
        patch.setattr(os.path, "lexists", lambda path: False)
        with pytest.raises(DataError, match=r"line 2: .*/img cannot be read \(Perm"):
            read(where)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(DataError, match=r"cannot read .*/list.csv \(Permission"):
            read(where)


def test_a_pipe_as_list(tmp_path):
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(DataError, match="it is a pipe, not a file"):
        read(tmp_path / "list.csv")
