import os
from pathlib import Path

import pytest
from PIL import Image

from deml_tf.data import catalog
from deml_tf.data.catalog import Example, load_examples, read_list
from deml_tf.errors import DataError, UsageError

SCENES = Path(__file__).parents[2] / "../shared/data/cub200_2010_scenes"


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def birds(tmp_path):
    """Pictures of 20 x 10 pixels, and a function that writes a list of them."""
    for name in ("a", "b", "c"):
        (tmp_path / "img").mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / f"img/{name}.png")

    def write(text, name="list.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.mark.parametrize("below", ["", "images"])
def test_folder(below, tmp_path):
    root = tmp_path / below
    touch(
        root / "b. Möwe/Zug vogel.JPG",
        root / "b. Möwe/a.webp",
        root / "b. Möwe/.hidden.jpg",
        root / "b. Möwe/notes.txt",
        root / "b. Möwe/deeper/c.jpg",
        root / "a,x/1.png",
        root / "a,x/10.jpeg",
        root / "a,x/2.gif",
        root / ".git/no.jpg",
        root / "loose.jpg",
    )
    found = load_examples("folder", str(tmp_path))
    assert found == [
        Example(str(root / "a,x/1.png"), "a,x"),
        Example(str(root / "a,x/10.jpeg"), "a,x"),
        Example(str(root / "a,x/2.gif"), "a,x"),
        Example(str(root / "b. Möwe/Zug vogel.JPG"), "b. Möwe"),
        Example(str(root / "b. Möwe/a.webp"), "b. Möwe"),
    ]


def test_images_may_be_a_class(tmp_path):
    touch(tmp_path / "images/1.jpg", tmp_path / "other/1.jpg")
    assert [e.label for e in load_examples("folder", tmp_path)] == ["images", "other"]


def test_images_folder_goes_before_its_neighbours(tmp_path):
    touch(tmp_path / "images/a/1.jpg", tmp_path / "attributes/1.jpg")
    assert [e.label for e in load_examples("folder", tmp_path)] == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="such names exist on POSIX alone")
def test_names_need_not_be_unicode(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    Path(os.fsdecode(os.path.join(folder, b"1.jpg"))).touch()
    (example,) = load_examples("folder", tmp_path)
    assert os.fsencode(example.path) == os.path.join(folder, b"1.jpg")


def test_list_with_everything(birds):
    where = birds(
        "Split, PATH ,id,label,x,y,w,h\n"
        "train,img/a.png,7,a bird,5,1,10,4\n"
        "\n"
        'Test,img/b.png,8,"Möwe, die",,,,\n'
        f"validation,{birds('')}/img/c.png,9,c,-1.5,0,99,20\n"
    )
    found = load_examples("list", where)
    assert found == [
        Example(f"{where}/img/a.png", "a bird", "train", (0.1, 0.25, 0.5, 0.75)),
        Example(f"{where}/img/b.png", "Möwe, die", "test"),
        Example(f"{where}/img/c.png", "c", "validation", (0.0, 0.0, 1.0, 1.0)),
    ]
    assert read_list(where / "list.csv") == found
    assert load_examples("list", where / "list.csv") == found


@pytest.mark.parametrize(
    ("name", "separator"), [("list.tsv", "\t"), ("list.csv", ";"), ("list.csv", "\t")]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_line_ends_and_byte_order_mark(name, separator, end, birds):
    rows = [["path", "label"], ["img/a.png", "a, b"], ["./img/../img/b.png", "b"]]
    where = birds("\ufeff" + end.join(separator.join(row) for row in rows), name)
    assert load_examples("list", where) == [
        Example(f"{where}/img/a.png", "a, b"),
        Example(f"{where}/img/b.png", "b"),
    ]


def test_sizes_are_read_for_boxes_alone(birds, monkeypatch):
    where = birds("path,label,x,y,w,h\nimg/a.png,a,0,0,5,5\nimg/b.png,b,,,,\n")
    opened = []
    monkeypatch.setattr(
        catalog.Image, "open", lambda p, f=Image.open: opened.append(p) or f(p)
    )
    load_examples("list", where)
    assert opened == [f"{where}/img/a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column path and no column label in its first line"),
        ("img/a.png,a\n", "has no column path and no column label"),
        ("path,x\nimg/a.png,1\n", "has no column label in its first line"),
        ("path,label,x,w\n", "has the column x, w without the others of x, y, w, h"),
        ("path,label,Label\n", "has the column label twice"),
        ("path,label\n\n", "list.csv lists no picture; add rows"),
        ("path,label\nimg/a.png\n", "list.csv, line 2: 1 cells for 2 columns"),
        ("path,label\nimg/a.png,a,b\n", "line 2: 3 cells for 2 columns"),
        ("path,label\nimg/a.png,a\n\n,b\n", "line 4: the path is empty"),
        ("path,label\nimg/a.png, \n", "line 2: the label is empty; correct the list$"),
        ("path,label\nimg/x.png,a\n", "line 2: there is no file .*/img/x.png; "),
        ("path,label\nimg,a\n", "line 2: there is no file .*/img;"),
        ("path,label\nno/x.png,a\nno/y.png,a\n,a\n", r"x.png; .* \(2 more lines are w"),
        ("path,label\nimg/a.png,a\nimg/./a.png,b\n", "line 3: .* is listed in line 2"),
        (
            "path,label,split\nimg/a.png,a,dev\n",
            "split is 'dev', not one of train, val",
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
        (
            "path,label,x,y,w,h\nlist.csv,a,1,2,9,3\n",
            "cannot read the size of .*list.csv",
        ),
        ('path,label\nimg/a.png,"a\n', "after line .*; save the list as UTF-8 text"),
    ],
)
def test_bad_lists(text, message, birds):
    where = birds(text)
    with pytest.raises(DataError, match=message):
        load_examples("list", where)


def test_list_in_another_encoding(tmp_path):
    (tmp_path / "list.csv").write_bytes("path,label\nx.png,Möwe\n".encode("latin-1"))
    with pytest.raises(DataError, match="save the list as UTF-8"):
        load_examples("list", tmp_path)


@pytest.mark.parametrize(
    ("files", "dataset", "data_dir", "error", "message"),
    [
        (
            ["a/1.jpg"],
            "imagenet",
            "",
            UsageError,
            "--dataset=imagenet is unknown; use ",
        ),
        (["a/1.jpg"], "folder", "gone", UsageError, "gone does not exist"),
        (["a/1.jpg"], "folder", "a/1.jpg", UsageError, "is a file; .* --dataset=list"),
        (["1.jpg"], "folder", "", DataError, "holds no class folders; put the"),
        (
            ["a/1.jpg", "b/1.tif"],
            "folder",
            "",
            DataError,
            "class folder .*/b holds no p",
        ),
        (
            ["a/1.jpg", "b/x", "c/x", "d/x"],
            "folder",
            "",
            DataError,
            r"and 2 more folde",
        ),
        (["a/1.jpg"], "list", "", UsageError, "neither list.csv nor list.tsv"),
        (
            ["list.csv", "list.tsv"],
            "list",
            "",
            UsageError,
            "both list.csv and list.tsv",
        ),
        (["a/1.jpg"], "list", "gone.csv", UsageError, "gone.csv does not exist"),
    ],
)
def test_bad_places(files, dataset, data_dir, error, message, tmp_path):
    touch(*(tmp_path / name for name in files))
    with pytest.raises(error, match=message):
        load_examples(dataset, tmp_path / data_dir)


def test_no_place(tmp_path):
    with pytest.raises(UsageError, match="--dataset=list needs --data_dir"):
        load_examples("list", "")


@pytest.mark.skipif(not SCENES.exists(), reason="the photographs are not here")
def test_scenes_of_birds():
    found = load_examples("list", SCENES)
    assert len(found) == 6033
    assert len({example.label for example in found}) == 200
    # Its README: square boxes of 0.35 to 0.7 of a 256-pixel picture.
    for example in found:
        assert example.box is not None and example.split is None
        ymin, xmin, ymax, xmax = example.box
        assert 0 <= ymin < ymax <= 1 and 0 <= xmin < xmax <= 1
        assert 0.33 < ymax - ymin < 0.72 and abs(ymax - ymin - xmax + xmin) < 1e-6
    assert found[0].box == (11 / 256, 20 / 256, 185 / 256, 194 / 256)
