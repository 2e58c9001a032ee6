import pytest

from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples
from deml_tf.data.splits import zero_shot_split
from deml_tf.errors import DataError

HEADER = "image_id class_id super_class_id path\n"


def read(where):
    return read_examples(DataConfig("sop", str(where)))


@pytest.fixture
def products(tmp_path):
    """Two classes to train on and two to test on, of two images each."""
    for name in ("bicycle_final", "mug_final"):
        (tmp_path / name).mkdir()
        for n in range(4):
            (tmp_path / name / f"{n}.JPG").touch()
    for name, first, folder in (("train", 1, "bicycle"), ("test", 3, "mug")):
        rows = [f"{n} {first + n // 2} 1 {folder}_final/{n}.JPG\n" for n in range(4)]
        (tmp_path / f"Ebay_{name}.txt").write_text(HEADER + "".join(rows))
    return tmp_path


def test_products(products):
    found = read(products)
    assert found[2] == Example(f"{products}/bicycle_final/2.JPG", "2", "train")
    split = zero_shot_split(found)
    assert [e.label for e in split.train] == ["1", "1", "2", "2"]
    assert [e.label for e in split.test] == ["3", "3", "4", "4"]
    assert read(products.parent / products.name) == found


def test_the_archives_folder_is_found_below(products):
    products.rename(products.parent / "Stanford_Online_Products")
    assert len(read(products.parent)) == 8


def replace(name, old, new):
    def change(folder):
        path = folder / f"Ebay_{name}.txt"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "Ebay_train.txt").unlink(),
            "there is no Ebay_train.txt in DIR or DIR/Stanford_Online_Products; give "
            "the data_dir=FOLDER that holds Ebay_train.txt and Ebay_test.txt with the "
            "folders bicycle_final to toaster_final",
        ),
        (
            lambda folder: (folder / "Ebay_test.txt").unlink(),
            "there is no Ebay_test.txt in DIR beside Ebay_train.txt; put it there from "
            "the data set's archive",
        ),
        (
            replace("test", HEADER, ""),
            "DIR/Ebay_test.txt, line 1: the header is '0 3 1 mug_final/0.JPG', not "
            "'image_id class_id super_class_id path'; take the file from the archive "
            "again",
        ),
        (
            replace("train", "1 1 1 bicycle", "1 1 bicycle"),
            "DIR/Ebay_train.txt, line 3: 3 words for 4 columns (image_id class_id "
            "super_class_id path); correct the list",
        ),
        (
            replace("test", "2 4 1", "2 1 1"),
            "DIR/Ebay_test.txt, line 4: class 1 is in Ebay_train.txt as well; correct "
            "the list",
        ),
        (
            replace("test", "mug_final/3.JPG", "mug_final/4.JPG"),
            "DIR/Ebay_test.txt, line 5: there is no file DIR/mug_final/4.JPG; correct "
            "the list",
        ),
    ],
)
def test_mistakes(change, message, products):
    change(products)
    with pytest.raises(DataError) as caught:
        read(products)
    assert str(caught.value).replace(str(products), "DIR") == message
