"""The lines of a study become variants and runs, or one sentence of refusal."""

import pytest

from deml_tf.config import LossConfig
from deml_tf.errors import UsageError
from deml_tf.studies.plan import planned_runs, read_seeds, read_variants

COMMON = ["--dataset=folder", "--data_dir=images", "--steps=8"]


def read(*lines, common=COMMON, reference=None):
    return read_variants(lines, common, reference)


def test_a_variants_flags_win_over_the_common_ones():
    one, two = read("U512: --scales=1 --steps=9", "DeML(3,3)")
    assert (one.configs.model.scales, one.configs.train.steps) == (1, 9)
    assert (two.configs.model.scales, two.configs.train.steps) == (3, 8)
    assert one.own == ("--scales=1", "--steps=9") and two.own == ()
    assert "--steps=9" in one.arguments and "--steps=8" not in one.arguments


def test_flags_that_tell_runs_apart():
    one, two = read("a: --scales=1 --loss=triplet", "b: --scales=3")
    assert one.flags["scales"] == "1" and one.flags["loss"] == "triplet"
    assert "scales" not in two.flags  # it is the default
    assert {"seed", "run_dir"}.isdisjoint(one.flags)
    # It may change in a run, for memory may not suffice, and is given to the run.
    (small,) = read("a: --scoring_batch_size=8")
    assert "scoring_batch_size" not in small.flags
    assert "--scoring_batch_size=8" in small.arguments


def test_quotes_are_those_of_a_shell():
    (one,) = read("a: '--data_dir=two words' --fit=pad")
    assert one.configs.data.data_dir == "two words"
    assert "--data_dir=two words" in one.arguments


def test_common_flags_of_what_a_variant_replaces_are_left_out():
    common = [*COMMON, "--decoupling=adversary", "--adversary_steps=3"]
    one, two = read("a:", "b: --decoupling=none", common=common)
    assert one.configs.loss.decoupling_arguments == {"steps": 3}
    assert two.configs.loss == LossConfig(decoupling="none")
    assert not any("adversary_steps" in argument for argument in two.arguments)
    with pytest.raises(UsageError, match="Variant b: adversary_steps=2 is for decoup"):
        read("b: --decoupling=none --adversary_steps=2", common=common)


def test_a_flagfile_in_a_variant_is_read(tmp_path):
    (tmp_path / "more.cfg").write_text("--scales=2\n--run_dir=elsewhere\n")
    (one,) = read(f"a: --flagfile={tmp_path / 'more.cfg'}")
    assert one.configs.model.scales == 2
    assert not any("run_dir" in argument for argument in one.arguments)


def test_references():
    lines = ["a:", "b:", "c @b: --scales=1"]
    assert [v.reference for v in read(*lines)] == [None, "a", "b"]
    assert [v.reference for v in read(*lines, reference="b")] == ["b", None, "b"]


def test_runs_go_seed_by_seed(tmp_path):
    runs = list(planned_runs(read("a:", "b:"), (0, 4), tmp_path))
    assert [run.name for run in runs] == [
        "a, seed 0",
        "b, seed 0",
        "a, seed 4",
        "b, seed 4",
    ]
    assert runs[3].folder.path == tmp_path / "b" / "seed_4"
    assert runs[3].arguments[-2:] == [f"--run_dir={tmp_path}/b/seed_4", "--seed=4"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", (0,)), ("3,1,2", (3, 1, 2)), ("0, 4294967295", (0, 2**32 - 1))],
)
def test_seeds(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,", "1,1", "-1", "1.5", "4294967296", "١"])
def test_wrong_seeds(text):
    with pytest.raises(UsageError, match=f"^seeds={text}: give whole numbers from 0"):
        read_seeds(text)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "No variant is given: write --variant="),
        ([""], "variant='': write NAME: --flag=value"),
        (["a b: --scales=1"], "variant='a b: --scales=1': write NAME"),
        (["a @b @c:"], "with a name of letters, digits"),
        (["../up: --scales=1"], "write NAME"),
        ([".hidden:"], "write NAME"),
        (["a:", "study.html:"], "variant=study.html is what a file of the study is"),
        (["study.json @a:", "a:"], "variant=study.json is what a file of the study is"),
        (["a: 'x"], "cannot be split into flags (No closing quotation): close every"),
        (
            ["a:", "a: --scales=1"],
            "variant=a is given 2 times: give each its own name.",
        ),
        (["a @c:", "b:"], "variant=a @c: 'c' is no variant to compare with; give one"),
        (["a: --scale=1"], "Variant a: --scale=1 is no flag of deml_tf.train: did you"),
        (["a: --scales=0"], "Variant a: --scales=0: it must be at least 1."),
        (["a: scales=1"], "Variant a: 'scales=1' is no flag: flags start with --."),
        (["a: --seed=1"], "Variant a: seed=1 is for one run: give the seeds of the st"),
        (["a: --study_dir=b"], "Variant a: --study_dir=b is no flag of deml_tf.train"),
        (["a: --flagfile=none.cfg"], "Variant a: --flagfile=none.cfg cannot be read"),
        (["a: '--data_dir=b '"], "Variant a: data_dir='b ' fits on no line"),
    ],
)
def test_refusals(lines, words):
    with pytest.raises(UsageError) as caught:
        read(*lines)
    assert words in str(caught.value)


def test_an_unknown_reference_is_refused():
    with pytest.raises(UsageError, match=r"^reference=c: 'c' is no variant .* a b\.$"):
        read("a:", "b:", reference="c")
