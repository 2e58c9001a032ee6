import pytest

from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples
from deml_tf.data.splits import protocol, zero_shot_split
from deml_tf.errors import DataError

ROWS = [
    ("id_1", "train", "a"),
    ("id_1", "train", "b"),
    ("id_2", "train", "a"),
    ("id_3", "query", "a"),
    ("id_3", "gallery", "b"),
    ("id_4", "query", "a"),
    ("id_4", "gallery", "b"),
    ("id_4", "gallery", "c"),
]


def read(where):
    return read_examples(DataConfig("in_shop", str(where)))


def lay_out(folder, images="Img", lists="Eval"):
    lines = ["8", "image_name item_id evaluation_status"]
    for item, role, name in ROWS:
        place = folder / images / "img/MEN" / item
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.jpg").touch()
        lines.append(f"img/MEN/{item}/{name}.jpg    {item}   {role}")
    (folder / lists).mkdir(exist_ok=True)
    (folder / lists / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("images", ["Img", ""])
@pytest.mark.parametrize("lists", ["Eval", ""])
def test_clothes(images, lists, tmp_path):
    found = read(lay_out(tmp_path, images, lists))
    path = tmp_path / images / "img/MEN/id_4/a.jpg"
    assert found[5] == Example(str(path), "id_4", "query")
    split = zero_shot_split(found)
    assert [e.label for e in split.train] == ["id_1", "id_1", "id_2"]
    assert [e.label for e in split.test] == ["id_3", "id_4"]
    assert [e.label for e in split.gallery] == ["id_3", "id_4", "id_4"]
    assert protocol(split)["gallery_images"] == 3


def test_the_list_itself_may_be_in_what_is_given(tmp_path):
    found = read(lay_out(tmp_path))
    assert read(tmp_path / "Eval") == found


def replace(old, new):
    def change(folder):
        path = folder / "Eval/list_eval_partition.txt"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


LIST = "DIR/Eval/list_eval_partition.txt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "Eval/list_eval_partition.txt").unlink(),
            "there is no list_eval_partition.txt in DIR or DIR/Eval or DIR/Anno or "
            "DIR/In-shop Clothes Retrieval Benchmark/Eval; give the data_dir=FOLDER "
            "that holds Eval/list_eval_partition.txt and Img/img/",
        ),
        (
            lambda folder: (folder / "Img").rename(folder / "Images"),
            "there is no folder img in DIR/Eval, DIR/Eval/Img, DIR/Img or DIR; unpack "
            "img.zip there",
        ),
        (
            replace("8\n", ""),
            f"{LIST}, line 1: 'image_name item_id evaluation_status' is not the number "
            "of images; take the file from the archive again",
        ),
        (
            replace("8\n", f"{'9' * 5000}\n"),
            f"{LIST}, line 1: '{'9' * 40}' is not the number of images; take the file "
            "from the archive again",
        ),
        (
            replace("8\n", "9\n"),
            f"{LIST}, line 1: 9 images are announced and 8 listed; take the file "
            "from the archive again",
        ),
        (
            replace("item_id", "id"),
            f"{LIST}, line 2: the header is 'image_name id evaluation_status', not "
            "'image_name item_id evaluation_status'; take the file from the archive "
            "again",
        ),
        (
            replace("id_2   train", "id_2"),
            f"{LIST}, line 5: 2 words for 3 columns (image_name item_id "
            "evaluation_status); correct the list",
        ),
        (
            replace("id_2   train", "id_2   test"),
            f"{LIST}, line 5: evaluation_status is 'test', not one of train, query, "
            "gallery; correct the list",
        ),
        (
            replace("id_2   train", "id_1   query"),
            f"{LIST}, line 5: id_1 is query and in line 3 train; correct the list",
        ),
        (
            replace("id_4   gallery\n", "id_3   train\n"),
            f"{LIST}, line 9: id_3 is train and in line 6 not train; correct the list",
        ),
        (
            lambda folder: (folder / "Img/img/MEN/id_2/a.jpg").unlink(),
            f"{LIST}, line 5: there is no file DIR/Img/img/MEN/id_2/a.jpg; correct the "
            "list",
        ),
        (
            lambda folder: (folder / "Eval/list_eval_partition.txt").write_text(""),
            f"{LIST}, line 1: '' is not the number of images; take the file from the "
            "archive again",
        ),
    ],
)
def test_mistakes(change, message, tmp_path):
    change(lay_out(tmp_path))
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value).replace(str(tmp_path), "DIR") == message
