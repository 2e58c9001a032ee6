"""Data sets that are wrong on disk: folders of classes, and lists."""

import os

from bad_case import Case
from world import also, classes, listed, rows, write

LIST = "train TINY --dataset=list --data_dir=list.csv"
SET = "train TINY --validation_classes=0 --data_dir=set"
BOXES = "path,label,x,y,w,h"


def with_split(label, n):
    return ",train" if label in "ab" else ",test"


def with_box(label, n):
    return ",1,1,5,5"


CASES = (
    Case(
        "a data set that is not there",
        "train TINY --data_dir=none",
        2,
        "--data_dir=none does not exist; correct the path.",
    ),
    Case(
        "a file as image folder",
        "train TINY --data_dir=tiny.cfg",
        2,
        "--data_dir=tiny.cfg is a file; give a folder for "
        "--dataset=folder, or use --dataset=list for a list file.",
    ),
    Case(
        "an empty image folder",
        SET,
        1,
        "set holds no class folders; put the images of each class into "
        "a folder of its own in there, or give another --data_dir=FOLDER.",
        lambda folder: (folder / "set").mkdir(),
    ),
    Case(
        "images without class folders",
        SET,
        1,
        "set holds no class folders; put the images of each class into "
        "a folder of its own in there, or give another --data_dir=FOLDER.",
        write("set/1.jpg", "of any kind"),
    ),
    Case(
        "a class without images",
        SET,
        1,
        "the class folder set/c holds no image; remove it or put jpg, "
        "jpeg, jpe, jfif, pjpeg, pjp, png, gif, bmp, dib, webp, tif, tiff, avif, heic, "
        "heif, jp2 files into it.",
        classes(a=4, b=4, c=0, d=4),
    ),
    Case(
        "folders of class folders, such as train and test",
        SET,
        1,
        "set/test holds all of its images in folders, such as set/test/a/0.png; if "
        "these are the classes, give --data_dir=set/test, or else move the images "
        "up, or list them with their classes and roles for --dataset=list.",
        classes(**{"test/a": 2, "test/b": 2, "train/c": 2, "train/d": 2}),
    ),
    Case(
        "one class",
        SET,
        1,
        "--data_dir=set: 0 classes left to train on; retrieval needs two "
        "classes or more a side, so add classes or change the split.",
        classes(a=9),
    ),
    Case(
        "three classes, so one of them seen",
        SET,
        1,
        "--data_dir=set: 1 class left to train on; retrieval needs two "
        "classes or more a side, so add classes or change the split.",
        classes(a=4, b=4, c=4),
    ),
    Case(
        "more classes held out than are left to train",
        "train TINY --validation_classes=0.9",
        1,
        "--data_dir=images: 0 classes left to train on after "
        "--validation_classes=0.9; retrieval needs two classes or more a "
        "side, so add classes or change the split.",
    ),
    Case(
        "a folder without a list in it",
        "train TINY --dataset=list --data_dir=set",
        2,
        "--data_dir=set holds neither list.csv nor list.tsv; name the "
        "list file itself.",
        classes(a=1),
    ),
    Case(
        "two lists in one folder",
        "train TINY --dataset=list --data_dir=set",
        2,
        "--data_dir=set holds both list.csv and list.tsv; name the list file itself.",
        also(write("set/list.csv", ""), write("set/list.tsv", "")),
    ),
    Case(
        "an empty list",
        LIST,
        1,
        "list.csv has no column path and no column label in its first "
        "line; begin it with a header such as path,label or "
        "path,label,split.",
        listed(""),
    ),
    Case(
        "a list without a header",
        LIST,
        1,
        "list.csv has no column path and no column label in its first "
        "line; begin it with a header such as path,label or "
        "path,label,split.",
        listed(rows("a/0.png,a")),
    ),
    Case(
        "a list without labels",
        LIST,
        1,
        "list.csv has no column label in its first line; begin it with a "
        "header such as path,label or path,label,split.",
        listed("path\na/0.png\n"),
    ),
    Case(
        "a column twice",
        LIST,
        1,
        "list.csv has the column label twice; rename one of them.",
        listed(rows("path,label,label")),
    ),
    Case(
        "a header and nothing else",
        LIST,
        1,
        "list.csv lists no image; add rows below its header.",
        listed("path,label\n"),
    ),
    Case(
        "an empty label",
        LIST,
        1,
        "list.csv, line 2: the label is empty; correct the list.",
        listed(rows("path,label", "a/0.png,")),
    ),
    Case(
        "a row with a cell too many",
        LIST,
        1,
        "list.csv, line 2: 3 cells for 2 columns; correct the list.",
        listed(rows("path,label", "a/0.png,a,a")),
    ),
    Case(
        "an image that is not there",
        LIST,
        1,
        "list.csv, line 2: there is no file a/9.png; correct the list.",
        listed(rows("path,label", "a/9.png,a")),
    ),
    Case(
        "a null byte in a path",
        LIST,
        1,
        "list.csv, line 2: the path 'a\\x00b/0.png' holds a null byte, which no "
        "file's name can; correct the list.",
        listed(rows("path,label", "a\0b/0.png,a")),
    ),
    Case(
        "a pipe in place of a list",
        LIST,
        1,
        "cannot read list.csv (it is a pipe, not a file); mend it, or "
        "give another file.",
        lambda folder: os.mkfifo(folder / "list.csv"),
    ),
    Case(
        "an image twice",
        LIST,
        1,
        "list.csv, line 3: a/../a/0.png is listed in line 2; correct the list.",
        listed(rows("path,label", "a/0.png,a", "a/../a/0.png,b")),
    ),
    Case(
        "several wrong rows",
        LIST,
        1,
        "list.csv, line 2: there is no file a/9.png; correct the list (2 "
        "more lines are wrong).",
        listed(rows("path,label", "a/9.png,a", "a/0.png,", "a/8.png,a")),
    ),
    Case(
        "an unknown role",
        LIST,
        1,
        "list.csv, line 2: split is 'learn', not one of train, "
        "validation, test, query, gallery; correct the list.",
        listed(rows("path,label,split", "a/0.png,a,learn", cells=with_split)),
    ),
    Case(
        "a role for some rows alone",
        LIST,
        1,
        "--data_dir=list.csv: a/0.png has no split in the list but other "
        "rows have one (1 of 20 rows lack it); fill the split column or "
        "empty it.",
        listed(rows("path,label,split", "a/0.png,a,", cells=with_split)),
    ),
    Case(
        "a class on both sides",
        LIST,
        1,
        "--data_dir=list.csv: the list puts a into train and test; "
        "zero-shot roles share no class, so give each class one split.",
        listed(rows("path,label,split", "a/0.png,a,test", cells=with_split)),
    ),
    Case(
        "three of the four columns of a box",
        LIST,
        1,
        "list.csv has the column x, y, w without the others of x, y, w, "
        "h; give all four or none.",
        listed(rows("path,label,x,y,w", cells=lambda label, n: ",1,1,5")),
    ),
    Case(
        "a box that is not of numbers",
        LIST,
        1,
        "list.csv, line 2: x,y,w,h is 1,one,5,5: not four numbers, nor "
        "all four empty; correct the list.",
        listed(rows(BOXES, "a/0.png,a,1,one,5,5", cells=with_box)),
    ),
    Case(
        "a box that is not a number",
        LIST,
        1,
        "list.csv, line 2: the box x,y,w,h = 1,nan,5,5 holds nothing of "
        "the 40 x 30 pixels of a/0.png; correct the list.",
        listed(rows(BOXES, "a/0.png,a,1,nan,5,5", cells=with_box)),
    ),
    Case(
        "a box beside the image",
        LIST,
        1,
        "list.csv, line 2: the box x,y,w,h = 50,1,5,5 holds nothing of "
        "the 40 x 30 pixels of a/0.png; correct the list.",
        listed(rows(BOXES, "a/0.png,a,50,1,5,5", cells=with_box)),
    ),
    Case(
        "a list that is not UTF-8",
        LIST,
        1,
        "list.csv, after line 1: 'utf-8' codec can't decode byte 0xe9 in "
        "position 22: invalid continuation byte; save the list as UTF-8 "
        "text with a header and one image a line.",
        listed(b"path,label\na/0.png,caf\xe9\n"),
    ),
    Case(
        "a quote that is not closed",
        LIST,
        1,
        "list.csv, after line 1: unexpected end of data; save the list as"
        " UTF-8 text with a header and one image a line.",
        listed(rows("path,label", 'a/0.png,"a')),
    ),
    Case(
        "Plumage where something else lies",
        "train TINY --dataset=plumage",
        2,
        "images holds something that is not Plumage: name a new or "
        "empty folder to draw it in.",
    ),
    Case(
        "Plumage of another size",
        "train TINY --dataset=plumage --data_dir=set --plumage_species=8",
        2,
        "set holds Plumage drawn with --plumage_species=9 rather than 8: name "
        "another folder, or remove this one to draw it again.",
        write(
            "set/plumage.json",
            '{"version": 1, "seed": 0, "size": 160, "species": 9, "images": 30}',
        ),
    ),
    Case(
        "Plumage whose record is spoilt",
        "train TINY --dataset=plumage --data_dir=set",
        1,
        "set/plumage.json cannot be read: remove set and draw it again.",
        write("set/plumage.json", "{"),
    ),
)
