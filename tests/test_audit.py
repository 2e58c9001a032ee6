import contextlib
import csv
import json
import os
from html.parser import HTMLParser
from unittest import mock

import numpy as np
import pytest
from absl import flags
from PIL import Image, ImageOps

from deml_tf import audit as module
from deml_tf.audit import read_roles
from deml_tf.cli.parsing import parse
from deml_tf.config import DataConfig
from deml_tf.data.duplicates import Fingerprint
from deml_tf.data.example import Example
from deml_tf.data.findings import count, find, spoilers
from deml_tf.errors import DataError, UsageError
from deml_tf.reports.audit_page import write_audit
from deml_tf.reports.audit_tables import (
    audit_tables,
    empty_table,
    names_table,
    verdict,
)
from tests.reports.heard import nameless

NASTY = '<script>alert(1)</script> & "x"\n[red]é\u202e\udcff'


@contextlib.contextmanager
def defined():
    """The flags of the command, and nothing of them afterwards."""
    values, before = flags.FLAGS, set(flags.FLAGS)
    try:
        with mock.patch.object(module, "run"):
            module.cli()
        yield values
    finally:
        values.unparse_flags()
        values.remove_flag_values(list(set(values) - before))


def scene(seed):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def look(seed, *flipped):
    bits = np.random.default_rng(seed).integers(0, 2, 256, dtype=np.uint8)
    bits[list(flipped)] ^= 1
    return np.packbits(bits).tobytes()


def image(digest, own=None, mirrored=None, **facts):
    """A fingerprint; `own` and `mirrored` seed the looks."""
    facts = {"width": 300, "height": 200, "kind": "JPEG RGB", **facts}
    own = look(1000 + digest) if own is None else own
    mirrored = look(2000 + digest) if mirrored is None else mirrored
    return Fingerprint("", bytes([digest]), look=own, mirrored_look=mirrored, **facts)


def audit(listed, **options):
    """Findings for `(role, class, fingerprint)`s; an image's path is its number."""
    order = ("train", "validation", "test", "gallery")
    roles = {role: [] for role in order}
    prints = {role: [] for role in order}
    for n, (role, label, fingerprint) in enumerate(listed):
        roles[role].append(Example(str(n), label))
        prints[role].append(fingerprint)
    fingerprints = [one for role in order for one in prints[role]]
    options = {"near_distance": 10, "input_size": 224, **options}
    return {"refusal": None, **find(roles, fingerprints, **options)}


def ends(findings, kind, where):
    found = (f for f in findings[kind] if f["where"] == where)
    return {tuple(int(p["path"]) for p in f["images"]) for f in found}


def test_copies_are_told_apart_by_halves_and_classes():
    found = audit(
        [
            ("train", "a", image(0)),
            ("train", "a", image(0)),
            ("train", "b", image(1)),
            ("test", "c", image(1)),
            ("test", "c", image(2, look(7))),
            ("test", "d", image(3, look(7, 0, 1, 2))),
            ("train", "b", image(4, look(7, *range(100, 108)))),
            ("validation", "e", image(5, look(8))),
            ("validation", "e", image(6, look(8, 5))),
            ("test", "c", image(7, look(9), look(10))),
            ("train", "a", image(8, look(10, 3), look(9, 1))),
            ("train", "b", image(9, look(11))),
            ("test", "c", image(10, look(11, *range(11)))),  # 11 bits: too far
            ("train", "a", image(11, look(12))),
            ("validation", "e", image(12, look(12))),  # both are of the seen half
        ]
    )
    assert ends(found, "exact", "one_class") == {(0, 1)}
    assert ends(found, "exact", "across_halves") == {(2, 3)}
    assert ends(found, "near", "across_halves") == {(6, 4), (10, 9)}
    assert ends(found, "near", "two_classes") == {(4, 5), (13, 14)}
    assert ends(found, "near", "one_class") == {(7, 8)}
    (mirrored,) = [f for f in found["near"] if f["mirrored"]]
    assert mirrored["distance"] == 1 and mirrored["images"][0]["path"] == "10"
    assert count(found["near"], "across_halves", mirrored=False) == 1
    # The same pair is not told twice: neither as exact and near nor mirrored too.
    assert len(found["exact"]) == 2 and len(found["near"]) == 5
    assert found["near_complete"]
    assert spoilers(found) == ["1 image in both halves, byte for byte"]
    assert "2 near copies lie across them" in verdict(found)
    copies = audit_tables(found)[2]
    assert [row[1:] for row in copies.rows] == [
        ("1", "1", "1"),
        ("0", "2", "0"),
        ("1", "1", "0"),
    ]


def test_many_copies_of_one_file_hide_no_near_copy():
    placeholder = image(0, look(1))
    listed = [("train", "a", placeholder) for _ in range(60)]
    listed += [("test", "b", placeholder) for _ in range(60)]
    listed += [("train", "a", image(1, look(2))), ("test", "b", image(2, look(2, 5)))]
    listed += [("test", "b", image(3, look(1, 7)))]
    found = audit(listed, most_pairs=20)
    # Beside that, the first placeholder of either half is near the last image.
    assert ends(found, "near", "across_halves") == {(120, 121), (0, 122)}
    assert ends(found, "near", "one_class") == {(60, 122)}
    assert found["near_complete"]
    assert verdict(found).endswith(" 2 near copies lie across them.")
    found["near_complete"] = False
    assert verdict(found).endswith(" At least 2 near copies lie across them.")


class Counted(dict):
    comparisons = 0

    def __eq__(self, other):
        Counted.comparisons += 1
        return super().__eq__(other)

    __hash__ = None


def test_dark_images_are_not_told_twice():
    dark = [Counted(path=str(n), role="test") for n in range(50)]
    even = [Counted(path=str(n), role="test") for n in range(40, 90)]
    table = empty_table({"dark": dark, "even": even}, 200)
    assert [row[0] for row in table.rows] == [str(n) for n in range(90)]
    assert Counted.comparisons == 0  # 2,500 of them would be


def test_symmetric_images_are_near_once():
    found = audit(
        [
            ("train", "a", image(0, look(1), look(1))),
            ("test", "b", image(1, look(1, 4), look(1, 4))),
        ]
    )
    assert [f["mirrored"] for f in found["near"]] == [False]


def test_a_search_cut_short_is_said():
    prints = [("train", "a", image(n, look(1))) for n in range(90)]
    found = audit(prints, most_pairs=20)
    assert not found["near_complete"]
    assert "near_distance=10" in audit_tables(found)[2].note


def test_classes_of_several_roles_and_of_like_names():
    labels = {
        "train": ["a", "b", "Blue Tit", "ﬁnch", "e\u0301"],
        "validation": ["b"],
        "test": ["blue  tit", "finch", "owl", "z"],
        "gallery": ["owl", "\u00e9", "a"],
    }
    listed = [(role, name, image(0)) for role in labels for name in labels[role]]
    found = audit(listed)
    assert found["shared_classes"] == [
        {"class": "a", "roles": ["train", "gallery"]},
        {"class": "b", "roles": ["train", "validation"]},
    ]
    alike = {frozenset(n["class"] for n in g["names"]) for g in found["alike_names"]}
    assert alike == {
        frozenset({"Blue Tit", "blue  tit"}),
        frozenset({"ﬁnch", "finch"}),
        frozenset({"e\u0301", "\u00e9"}),
    }
    assert all(group["across_halves"] for group in found["alike_names"])
    said = spoilers(found)
    assert said[0] == "2 classes in two roles" and said[1].startswith("3 class names")
    rows = names_table(found, 10).rows
    assert ("'e\\u0301' / '\\xe9'", "train / gallery") in rows
    assert names_table(found, 2).note == "and 3 more"

    within = audit([("train", "A", image(0)), ("train", "a", image(1))])
    assert [g["across_halves"] for g in within["alike_names"]] == [False]
    assert spoilers(within) == []


def test_counts_and_sizes():
    found = audit(
        [
            ("train", "a", image(0, width=100, height=400, rotated=True)),
            ("train", "a", image(1, width=224, height=224, kind="PNG P")),
            ("train", "a", image(2)),
            ("train", "b", image(3, width=900)),
            ("test", "c", Fingerprint("the file is empty")),
            ("test", "c", image(4, b"", b"", dark=True)),
            ("test", "c", image(5, dark=True)),
        ]
    )
    assert found["roles"]["train"] == {
        "classes": 2,
        "images": 4,
        "smallest_class": 1,
        "median_class": 2.0,
        "largest_class": 3,
        "classes_of_one": ["b"],
    }
    assert list(found["roles"]) == ["train", "test"]
    assert found["sizes"]["width"][::2] == [100, 300, 900]
    assert found["sizes"]["aspect"][0] == 0.25 and found["sizes"]["aspect"][-1] == 4.5
    assert found["sizes"]["below_input_size"] == 5  # 100 wide; four are 200 high
    assert found["kinds"] == {"JPEG RGB": 5, "PNG P": 1} and found["rotated"] == 1
    bad = {"path": "4", "class": "c", "role": "test", "problem": "the file is empty"}
    assert found["unreadable"] == [bad]
    assert [one["path"] for one in found["even"]] == ["5"]
    assert [one["path"] for one in found["dark"]] == ["5", "6"]
    assert [row[2] for row in empty_table(found, 10).rows] == ["all but black"] * 2
    assert "scale them to 16 bits" in empty_table(found, 10).note
    nothing = audit(
        [("train", "a", Fingerprint("no")), ("test", "b", Fingerprint("no"))]
    )
    assert nothing["sizes"] == {} and len(audit_tables(nothing)) == 3


class _Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.titles = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.titles += [value for key, value in attrs if key == "title"]

    def handle_data(self, data):
        self.texts.append(data)


def test_page_shows_pairs_and_escapes_every_name(tmp_path):
    name = os.path.join(tmp_path, NASTY.replace("/", "") + ".png")
    scene(0).save(name)
    scene(0).save(tmp_path / "b.png")
    roles = {
        "train": [Example(name, NASTY), Example(str(tmp_path / "gone.png"), NASTY)],
        "test": [Example(str(tmp_path / "b.png"), NASTY + " "), Example("y", NASTY)],
    }
    same = image(0)
    prints = [same, image(1, look(5)), same, Fingerprint(NASTY)]
    prints[0] = image(0, look(5, 1))
    found = find(roles, prints, near_distance=4, input_size=224)
    path = tmp_path / "new" / "page.html"
    write_audit(path, {"refusal": NASTY, **found}, title=NASTY)
    page = _Tags(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags and "red" not in page.tags
    assert page.tags.count("img") == 3  # of two copies and a near pair; one is gone
    assert "gone" in page.texts and "same bytes" in page.texts
    text = "".join(page.texts)
    assert '<script>alert(1)</script> & "x"\\n[red]é\\u202e\\xff' in text
    assert "--accent" in text  # the look of the runs' report
    assert any(title.endswith("b.png") for title in page.titles)
    assert "http" not in path.read_text()
    assert not nameless(path.read_text(encoding="utf-8"))


def test_page_shows_so_many_and_says_how_many_more(tmp_path):
    prints = [("train", "a", image(n, look(1))) for n in range(5)]
    prints += [("train", "b", image(9, look(2)))] * 9
    write_audit(tmp_path / "page.html", audit(prints), title="t", shown=3)
    page = _Tags((tmp_path / "page.html").read_text())
    text = " ".join("".join(page.texts).split())
    assert text.count("0 bits") == 3 and "7 more are in the JSON file" in text
    assert "and 3 more" in text  # of nine equal files six are shown


def test_a_split_that_training_refuses_is_still_looked_over(tmp_path):
    for n in range(6):
        scene(n).save(tmp_path / f"{n}.png")
    rows = [(0, "a", "train"), (1, "b", "train"), (2, "a", "test"), (3, "c", "test")]
    config = DataConfig(dataset="list", data_dir=str(tmp_path / "list.csv"))

    def write(rows):
        with open(tmp_path / "list.csv", "w", newline="") as file:
            lines = [(f"{n}.png", label, role) for n, label, role in rows]
            csv.writer(file).writerows([("path", "label", "split"), *lines])

    write(rows)
    roles, refusal = read_roles(config, 0)
    assert "train and test" in str(refusal)
    assert {r: [e.label for e in found] for r, found in roles.items() if found} == {
        "train": ["a", "b"],
        "test": ["a", "c"],
    }
    write([rows[0], rows[1], (2, "a", "query"), (3, "a", "gallery")])
    roles, refusal = read_roles(config, 0)
    assert refusal and [len(found) for found in roles.values()] == [2, 0, 1, 1]
    write([*rows, (4, "d", "")])
    with pytest.raises(DataError, match="4.png has no split"):
        read_roles(config, 0)
    write([(9, "a", "train")])
    with pytest.raises(DataError, match="line 2"):
        read_roles(config, 0)
    apart = [*rows[:2], (2, "d", "test"), rows[3]]
    write(apart)
    roles, refusal = read_roles(config, 0)
    assert "one image alone" in str(refusal) and len(roles["test"]) == 2
    write([*apart, (4, "d", "test")])
    roles, refusal = read_roles(config, 0)
    assert refusal is None and [len(roles[r]) for r in ("train", "test")] == [2, 3]


def test_flags_reach_the_search_and_the_page(monkeypatch, tmp_path):
    looked, drawn = mock.Mock(return_value={"found": "all"}), mock.Mock()
    monkeypatch.setattr(module, "find", looked)
    monkeypatch.setattr(module, "write_audit", drawn)
    monkeypatch.setattr(module, "_print", lambda findings: None)
    roles = {"train": [Example("a.png", "a")], "test": [Example("b.png", "b")]}
    monkeypatch.setattr(module, "read_roles", lambda data, seed: (roles, str(seed)))
    monkeypatch.setattr(module, "fingerprints", lambda paths, progress: paths)
    given = ["--dataset=folder", "--data_dir=set", f"--output={tmp_path / 'page.html'}"]
    given += ["--seed=9", "--near_distance=5", "--input_size=300", "--pairs=7"]
    with defined() as values:
        words = parse(values, ["audit", *given])[1:]
        module.main(words)
        looked.assert_called_once()
        module.main(words)  # which replaces what it has written
    paths = ["a.png", "b.png"]
    looked.assert_called_with(roles, paths, near_distance=5, input_size=300)
    facts = {"dataset": "folder", "data_dir": "set", "refusal": "9", "found": "all"}
    page, title = tmp_path / "page.html", "Audit of set"
    drawn.assert_called_with(page, facts, title=title, shown=7)
    assert json.loads((tmp_path / "page.json").read_text()) == facts


@pytest.mark.parametrize("text", ["", '{\n "dataset": "birds",\n "images": []\n}'])
def test_what_no_audit_has_written_is_kept(text, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "read_roles", mock.Mock(side_effect=AssertionError))
    (tmp_path / "page.json").write_text(text)
    given = ["--dataset=folder", "--data_dir=set", f"--output={tmp_path / 'page.html'}"]
    with defined() as values:
        words = parse(values, ["audit", *given])[1:]
        with pytest.raises(UsageError, match="page.json, which no audit has written"):
            module.main(words)
        parse(values, ["audit", f"--json={tmp_path / 'page.json'}"])
        with pytest.raises(AssertionError):  # as this file is asked for
            module.main(words)
    assert (tmp_path / "page.json").read_text() == text


@pytest.mark.slow
def test_command(command, painted, tmp_path):
    rows = [
        (
            str(path),
            path.parent.name,
            "train" if path.parent.name < "class 04" else "test",
        )
        for path in sorted(painted.glob("*/*.png"))
    ]
    names = ["equal.png", "small.jpg", "mirrored.webp", "broken.png", "[red] é.png"]
    places = [tmp_path / name for name in names]
    scene(1).save(tmp_path / "seen.png")
    rows.append((str(tmp_path / "seen.png"), "class 00", "train"))
    scene(1).save(places[0])
    scene(1).resize((80, 60)).save(places[1], quality=60)
    ImageOps.mirror(scene(1)).save(places[2])
    places[3].write_bytes(places[0].read_bytes()[:200])
    scene(2).save(places[4])
    rows += [(str(place), "class 07", "test") for place in places]
    with open(tmp_path / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    page = tmp_path / "page.html"
    status, output, errors = command(
        "audit",
        "--dataset=list",
        f"--data_dir={tmp_path / 'list.csv'}",
        f"--output={page}",
        "--strict",
    )
    assert status == 1 and "Traceback" not in errors, errors
    (sentence,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "1 image in both halves, byte for byte" in sentence
    assert "Cannot be read" in output and "broken.png" in output
    found = json.loads(page.with_suffix(".json").read_text())
    (exact,) = found["exact"]
    assert exact["where"] == "across_halves"
    assert [os.path.basename(p["path"]) for p in exact["images"]] == [
        "seen.png",
        "equal.png",
    ]
    across = [f for f in found["near"] if f["where"] == "across_halves"]
    told = {(os.path.basename(f["images"][1]["path"]), f["mirrored"]) for f in across}
    assert told == {("small.jpg", False), ("mirrored.webp", True)}
    assert [os.path.basename(one["path"]) for one in found["unreadable"]] == [
        "broken.png"
    ]
    assert found["roles"]["train"]["images"] == 21 and found["refusal"] is None
    assert "data:image/jpeg" in page.read_text()
    assert sorted(p.name for p in tmp_path.iterdir() if "page" in p.name) == [
        "page.html",
        "page.json",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, words",
    [
        (["--data_dir=@"], "--dataset is missing"),
        (["@set", "--output=@"], "is a folder"),
        (["@set", "--output=@/a.json"], "is where the JSON goes"),
        (["@set", "--near_distance=-1"], "near_distance"),
    ],
)
def test_mistakes(flags, words, command, painted, tmp_path):
    (tmp_path / "file").write_text("")
    place = {"@set": ["--dataset=folder", f"--data_dir={painted}"]}
    given = [
        flag.replace("@", str(tmp_path)) for f in flags for flag in place.get(f, [f])
    ]
    status, output, errors = command("audit", *given)
    assert status == 2 and "Traceback" not in errors, errors
    assert words in errors and "reading" not in output
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
