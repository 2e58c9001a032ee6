"""Benchmarks as their archives unpack, each with a user's mistake in it."""

import numpy as np
import scipy.io
from bad_case import Case
from PIL import Image
from world import also, write

CUB = "train TINY --validation_classes=0 --dataset=cub200_2011 --data_dir=set"
CARS = "train TINY --validation_classes=0 --dataset=cars196 --data_dir=set"
SOP = "train TINY --validation_classes=0 --dataset=sop --data_dir=set"
SHOP = "train TINY --validation_classes=0 --dataset=in_shop --data_dir=set"
LABELS = "abcd"
COUNT = 2  # images of each of them
IMAGES = [f"{label}/{n}.png" for label in LABELS for n in range(COUNT)]
FIELDS = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")


def images(below):
    def make(folder):
        for name in IMAGES:
            path = folder / "set" / below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30)).save(path)

    return make


def lines(*given):
    return "".join(f"{line}\n" for line in given)


def cub(**changed):
    """Makes CUB-200-2011 in small; the files given by name are other than right."""
    files = {
        "classes": lines(*(f"{n} {name}" for n, name in enumerate(LABELS, 1))),
        "images": lines(*(f"{n} {name}" for n, name in enumerate(IMAGES, 1))),
        "image_class_labels": lines(
            *(f"{n + 1} {n // COUNT + 1}" for n in range(len(IMAGES)))
        ),
    } | changed
    texts = [write(f"set/{name}.txt", text) for name, text in files.items() if text]
    return also(images("images"), *texts)


def cars(fields=FIELDS, classes=LABELS):
    """Makes Cars196 in small, with these fields and names of classes."""

    def make(folder):
        images("car_ims")(folder)
        rows = [
            (f"car_ims/{name}", 1, 1, 20, 20, n // COUNT + 1)[: len(fields)]
            for n, name in enumerate(IMAGES)
        ]
        annotations = np.array(rows, [(field, "O") for field in fields])
        content = {"annotations": annotations, "class_names": list(classes)}
        scipy.io.savemat(folder / "set/cars_annos.mat", content)

    return make


def sop(header="image_id class_id super_class_id path", **changed):
    """Makes Stanford Online Products in small."""
    half = len(IMAGES) // 2
    rows = [f"{n + 1} {n // COUNT + 1} 1 {p}" for n, p in enumerate(IMAGES)]
    files = {
        "Ebay_train": lines(header, *rows[:half]),
        "Ebay_test": lines(header, *rows[half:]),
    } | changed
    texts = [write(f"set/{name}.txt", text) for name, text in files.items() if text]
    return also(images(""), *texts)


def shop(*changed, count=8):
    """Makes In-Shop in small; the rows given stand for its first ones."""
    roles = ["train"] * (len(IMAGES) // 2) + ["query", "gallery"] * 2
    rows = [
        f"img/{name} id_{name[0]} {role}"
        for name, role in zip(IMAGES, roles, strict=True)
    ]
    rows[: len(changed)] = changed
    text = lines(count, "image_name item_id evaluation_status", *rows)
    return also(images("Img/img"), write("set/Eval/list_eval_partition.txt", text))


CASES = (
    Case(
        "CUB-200-2011 that is not there",
        CUB,
        1,
        "there is no images.txt in set or set/CUB_200_2011; give the "
        "--data_dir=FOLDER that holds images.txt, image_class_labels.txt, "
        "classes.txt, bounding_boxes.txt and images/.",
        images("images"),
    ),
    Case(
        "CUB-200-2011 without its labels",
        CUB,
        1,
        "there is no image_class_labels.txt in set beside images.txt; put"
        " it there from the data set's archive.",
        cub(image_class_labels=""),
    ),
    Case(
        "a line of CUB-200-2011 with a word too few",
        CUB,
        1,
        "set/images.txt, line 2: 1 words for 2 columns (image_id "
        "image_name); correct the list.",
        cub(images="1 a/0.png\n2\n"),
    ),
    Case(
        "an id of CUB-200-2011 that is no number",
        CUB,
        1,
        "set/classes.txt, line 1: the class_id is one, no whole number of up "
        "to 18 digits; correct the list.",
        cub(classes="one a\n2 b\n3 c\n4 d\n"),
    ),
    Case(
        "a class of CUB-200-2011 that there is not",
        CUB,
        1,
        "set/image_class_labels.txt, line 1: class 9 is not in "
        "classes.txt; correct the list.",
        cub(image_class_labels="1 9\n"),
    ),
    Case(
        "an image of CUB-200-2011 that is not there",
        CUB,
        1,
        "set/images.txt, line 1: there is no file set/images/a/9.png; "
        "correct the list.",
        cub(images="1 a/9.png\n", image_class_labels="1 1\n"),
    ),
    Case(
        "a box of CUB-200-2011 beside the image",
        CUB,
        1,
        "set/bounding_boxes.txt, line 1: the box x,y,w,h = "
        "90.0,1.0,5.0,5.0 holds nothing of the 40 x 30 pixels of "
        "set/images/a/0.png; correct the list.",
        cub(bounding_boxes="1 90.0 1.0 5.0 5.0\n"),
    ),
    Case(
        "Cars196 that is not there",
        CARS,
        1,
        "there is no cars_annos.mat in set; give the --data_dir=FOLDER that "
        "holds cars_annos.mat and car_ims/, or one folder a class.",
        images("car_ims"),
    ),
    Case(
        "a file of Cars196 that is none",
        CARS,
        1,
        "cannot read set/cars_annos.mat (Mat file appears to be "
        "truncated); take the file from the data set's page again.",
        also(images("car_ims"), write("set/cars_annos.mat", "no MATLAB file")),
    ),
    Case(
        "a file of Cars196's devkit",
        CARS,
        1,
        "set/cars_annos.mat has no class; give the cars_annos.mat that "
        "lists all images, not one of the devkit's.",
        cars(fields=FIELDS[:5]),
    ),
    Case(
        "a class of Cars196 without a name",
        CARS,
        1,
        "set/cars_annos.mat, annotation 7: class 4 is not one of 1 to 3; "
        "correct the list (1 more lines are wrong).",
        cars(classes="abc"),
    ),
    Case(
        "Stanford Online Products without a list",
        SOP,
        1,
        "there is no Ebay_test.txt in set beside Ebay_train.txt; put it "
        "there from the data set's archive.",
        sop(Ebay_test=""),
    ),
    Case(
        "another header of Stanford Online Products",
        SOP,
        1,
        "set/Ebay_train.txt, line 1: the header is 'id path', not "
        "'image_id class_id super_class_id path'; take the file from the "
        "archive again.",
        sop("id path"),
    ),
    Case(
        "a class in both lists of Stanford Online Products",
        SOP,
        1,
        "set/Ebay_test.txt, line 2: class 1 is in Ebay_train.txt as well;"
        " correct the list.",
        sop(
            Ebay_test="image_id class_id super_class_id path\n5 1 1 c/0.png\n",
        ),
    ),
    Case(
        "an image of Stanford Online Products that is not there",
        SOP,
        1,
        "set/Ebay_test.txt, line 2: there is no file set/c/9.png; correct the list.",
        sop(
            Ebay_test="image_id class_id super_class_id path\n5 3 1 c/9.png\n",
        ),
    ),
    Case(
        "In-Shop that is not there",
        SHOP,
        1,
        "there is no list_eval_partition.txt in set or set/Eval or "
        "set/Anno or set/In-shop Clothes Retrieval Benchmark/Eval; give "
        "the --data_dir=FOLDER that holds Eval/list_eval_partition.txt and "
        "Img/img/.",
        images("Img/img"),
    ),
    Case(
        "a list of In-Shop that is cut short",
        SHOP,
        1,
        "set/Eval/list_eval_partition.txt, line 1: 52712 images are "
        "announced and 8 listed; take the file from the archive again.",
        shop(count=52712),
    ),
    Case(
        "an unknown role of In-Shop",
        SHOP,
        1,
        "set/Eval/list_eval_partition.txt, line 3: evaluation_status is "
        "'learn', not one of train, query, gallery; correct the list.",
        shop("img/a/0.png id_a learn"),
    ),
    Case(
        "an item of In-Shop on both sides",
        SHOP,
        1,
        "set/Eval/list_eval_partition.txt, line 9: id_d is query and in "
        "line 3 train; correct the list (1 more lines are wrong).",
        shop("img/a/0.png id_d train"),
    ),
    Case(
        "a set of tensorflow-datasets without a name",
        "train TINY --dataset=tfds:",
        2,
        "--dataset=tfds: names no set; give one of tensorflow-datasets, "
        "such as --dataset=tfds:caltech_birds2011.",
    ),
    Case(
        "a set that tensorflow-datasets does not know",
        "train TINY --dataset=tfds:no_such_birds",
        2,
        "--dataset=tfds:no_such_birds is no set of tensorflow-datasets, "
        "nor prepared in images; correct the name.",
    ),
)
