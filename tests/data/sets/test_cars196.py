import numpy as np
import pytest
import scipy.io
from PIL import Image

from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples
from deml_tf.errors import DataError

NAMES = ["Audi A 2011", "BMW M3", "Zenn", "Alfa"]


def read(where):
    return read_examples(DataConfig("cars196", str(where)))


def write(folder, **changes):
    """Two images of each class, with the structures of the published file."""
    fields = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class"]
    columns = {
        "relative_im_path": [f"car_ims/{n:06}.jpg" for n in range(1, 9)],
        "bbox_x1": [6] * 8,
        "bbox_y1": [2] * 8,
        "bbox_x2": [15] * 8,
        "bbox_y2": [5] * 8,
        "class": [1, 1, 2, 2, 3, 3, 4, 4],
        **changes,
    }
    cars = np.empty((1, 8), [(name, object) for name in [*fields, "test"]])
    for n in range(8):
        cars[0, n] = (*(columns[name][n] for name in fields), n % 2)
    names = np.array([NAMES], object)
    scipy.io.savemat(
        folder / "cars_annos.mat", {"annotations": cars, "class_names": names}
    )


@pytest.fixture
def cars(tmp_path):
    (tmp_path / "car_ims").mkdir()
    for n in range(1, 9):
        Image.new("RGB", (20, 10)).save(tmp_path / f"car_ims/{n:06}.jpg")
    write(tmp_path)
    return tmp_path


def test_annotations(cars):
    found = read(cars)
    assert [e.split for e in found] == ["train"] * 4 + ["test"] * 4
    assert found[2] == Example(
        f"{cars}/car_ims/000003.jpg", "002 BMW M3", "train", (0.1, 0.25, 0.5, 0.75)
    )
    # By number: Alfa, the fourth, is not seen.
    assert found[-1].label == "004 Alfa"


def test_class_folders(tmp_path):
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    assert [e.label for e in read(tmp_path)] == sorted(NAMES)


def another(**variables):
    return lambda folder: scipy.io.savemat(folder / "cars_annos.mat", variables)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "cars_annos.mat").unlink(),
            "there is no cars_annos.mat in DIR; give the data_dir=FOLDER that holds "
            "cars_annos.mat and car_ims/, or one folder a class",
        ),
        (
            lambda folder: (folder / "cars_annos.mat").write_bytes(b"no"),
            "cannot read DIR/cars_annos.mat",
        ),
        (
            another(class_names=np.array(NAMES, object)),
            "DIR/cars_annos.mat has no annotations; give the cars_annos.mat that lists "
            "all images, not one of the devkit's",
        ),
        (
            another(annotations=np.zeros(3), class_names=np.array(NAMES, object)),
            "has no relative_im_path and no bbox_x1 and no bbox_y1 and no bbox_x2 and",
        ),
        (
            lambda folder: write(folder, **{"class": [1, 5, 2, 2, 3, 3, 4, 0]}),
            "DIR/cars_annos.mat, annotation 2: class 5 is not one of 1 to 4; correct "
            "the list (1 more lines are wrong)",
        ),
        (
            lambda folder: (folder / "car_ims/000004.jpg").unlink(),
            "annotation 4: there is no file DIR/car_ims/000004.jpg; correct the list",
        ),
        (
            lambda folder: write(folder, bbox_x2=[5] * 8),
            "annotation 1: the box x,y,w,h = 5,1,0,4 holds nothing of the 20 x 10 pix",
        ),
    ],
)
def test_mistakes(change, message, cars):
    change(cars)
    with pytest.raises(DataError) as caught:
        read(cars)
    assert message in str(caught.value).replace(str(cars), "DIR")
