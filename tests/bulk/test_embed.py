"""The command, as a user types it; mistakes are typed in tests/bad_input."""

import json
import signal
from types import SimpleNamespace

import pytest
from absl.flags import FlagValues
from dying import embed_and_die, embed_limited
from forks import Fork
from pyarrow import parquet

from deml_tf import embed
from deml_tf.bulk.shard_format import KEYS, shard_name
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.cli.flags import define
from deml_tf.cli.parsing import parse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flags(exported, mixed):
    return [
        f"--export={exported}",
        f"--images={mixed}",
        "--shard_size=4",
        "--batch_size=3",
    ]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(flags, command, tmp_path_factory):
    """The folder of a command that was left alone, and what it printed."""
    output = tmp_path_factory.mktemp("bulk") / "new" / "embeddings"
    status, printed, errors = command("embed", *flags, f"--output={output}")
    assert status == 0, errors
    return output, printed


def test_what_is_there_and_what_is_said(undisturbed, mixed):
    output, printed = undisturbed
    names = [shard_name(n) for n in range(3)]
    assert sorted(contents(output)) == ["embeddings.json", *names]
    about = json.loads((output / "embeddings.json").read_bytes())
    assert tuple(about) == KEYS
    assert (about["images"], about["shards"]) == (11, 3)
    tables = [parquet.read_table(output / name) for name in names]
    assert [table.num_rows for table in tables] == [4, 4, 3]
    lines = printed.splitlines()
    assert lines[0].startswith("shard_00000.parquet: 4/11 images, ")
    assert lines[2].endswith(" images/s, 0 s left")
    assert lines[3].startswith(f"not valid: {mixed}/left/02.jpg: Unknown image")
    assert lines[4] == f"not valid: {mixed}/right/06.jpg: it is empty"
    assert lines[5].endswith("09.jpg: cannot be read (it is a folder)")
    assert lines[6].startswith("11 images in 3 of 3 shards, 3 not valid, ")
    assert lines[6].endswith(f" images/s: {output}") and len(lines) == 7


def test_the_rate_is_that_of_embedding(flags, tmp_path, monkeypatch, bar_clock, capsys):
    """Without the loading of the export, and without the reading of the shards."""

    def load(export):
        bar_clock.now += 100

    def embed_two_shards(served, images, plan, shards, output, progress):
        for shard, images in enumerate((4, 7)):
            bar_clock.now += images / 2
            progress.advance(images)
            progress.finish(shard_name(shard))

    def read_all(folder, shards):
        bar_clock.now += 100
        return []

    monkeypatch.setattr(embed, "ServedExport", load)
    monkeypatch.setattr(embed, "embed_shards", embed_two_shards)
    monkeypatch.setattr(embed, "invalid_images", read_all)
    values = FlagValues()
    monkeypatch.setattr(embed, "FLAGS", values)
    define(*embed.SETTINGS, flag_values=values)
    embed.main(parse(values, ["embed", *flags, f"--output={tmp_path / 'out'}"])[1:])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("4/11 images, 2.0 images/s, 4 s left")
    assert ", 2.0 images/s: " in lines[-1]


def test_an_export_under_another_number(
    undisturbed, exported, flags, command, tmp_path
):
    """The same one: nothing is embedded again."""
    (tmp_path / "7").symlink_to(exported)
    given = [f"--export={tmp_path}/7", *flags[1:], f"--output={undisturbed[0]}"]
    status, printed, errors = command("embed", *given)
    assert status == 0, errors
    assert printed.startswith(
        f"WARNING: {tmp_path}/7 is version 3 by its deml.json, and version 7 to a "
        "model server: to search with --server later, call the folder 3, or export "
        "the run again with --version=7.\n"
    )


def test_of_many_images_not_valid_some_are_named(tmp_path, monkeypatch, capsys):
    found = [(f"{n}.jpg", "it is empty") for n in range(25)]
    monkeypatch.setattr(embed, "invalid_images", lambda folder, shards: found)
    embed.report(tmp_path, ShardPlan(30, 10, 5), [0, 1, 2], None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:20] == [f"not valid: {n}.jpg: it is empty" for n in range(20)]
    assert lines[20] == "... and 5 more, which the shards name"
    facts = "30 images in 3 of 3 shards, 25 not valid, all there before"
    assert lines[21:] == [f"{facts}: {tmp_path}"]


def test_a_part_of_one_image_and_one_without_a_shard(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embed, "invalid_images", lambda folder, shards: [])
    monkeypatch.setattr(embed, "FLAGS", SimpleNamespace(part="4/4"))
    embed.report(tmp_path, ShardPlan(1, 10, 5), [0], None)
    embed.report(tmp_path, ShardPlan(30, 10, 5), [], None)
    assert capsys.readouterr().out == (
        f"1 image in 1 of 1 shard, 0 not valid, all there before: {tmp_path}\n"
        "part=4/4 holds 0 of 3 shards: nothing to do.\n"
    )


def test_killed_in_the_midst_of_writing(undisturbed, flags, command, tmp_path):
    flags = [*flags, f"--output={tmp_path / 'out'}"]
    for files, there in ((0, set()), (2, {"embeddings.json", shard_name(0)})):
        process = Fork(embed_and_die, files, *flags)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert {name for name in names if name[0] != "."} == there
        assert len(names - there) == 1  # what it left half written
    status, printed, errors = command("embed", *flags)
    assert status == 0, errors
    assert "3 not valid, 7 embedded now" in printed
    assert contents(tmp_path / "out") == contents(undisturbed[0])

    status, printed, errors = command("embed", *flags)
    assert status == 0, errors
    assert "3 not valid, all there before: " in printed


def test_processes_share_the_work(undisturbed, flags, start, tmp_path):
    flags = [*flags, f"--output={tmp_path}"]
    processes = [start("embed", *flags, f"--part={n}/2") for n in (1, 2)]
    ends = [(*process.communicate(), process.returncode) for process in processes]
    assert [status for _, _, status in ends] == [0, 0], ends
    assert "\n7 images in 2 of 3 shards, 2 not valid, " in ends[0][0]
    assert "\n4 images in 1 of 3 shards, 1 not valid, " in ends[1][0]
    assert contents(tmp_path) == contents(undisturbed[0])


def test_a_full_disk(undisturbed, flags, command, tmp_path):
    flags = [*flags, f"--output={tmp_path / 'out'}"]
    process = Fork(embed_limited, 1500, *flags)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors == (
        f"error: there is no room to write {tmp_path}/out/shard_00000.parquet (File "
        "too large); what was saved before is whole: free space and give the same "
        "command again.\n"
    )
    assert [*contents(tmp_path / "out")] == ["embeddings.json"]
    status, _, errors = command("embed", *flags)
    assert status == 0, errors
    assert contents(tmp_path / "out") == contents(undisturbed[0])


def test_interrupted(flags, start, mixed, tmp_path):
    images = tmp_path / "list.csv"
    paths = [str(path) for path in sorted(mixed.glob("left/*"))] * 500
    images.write_text("\n".join(["path", *paths]))
    process = start("embed", *flags, f"--images={images}", f"--output={tmp_path}/out")
    assert process.stdout.readline().startswith("shard_00000.parquet: 4/3000 images")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143
    assert errors == (
        "error: Terminated: the files of embeddings that are there are whole, and the "
        "same command goes on with the others.\n"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("--shard_size=5", "--shard_size=5, but"),
        ("--batch_size=2", "--batch_size=2, but"),
        ("--images=IMAGES/left", "holds embeddings of other images (11 with their"),
    ],
)
def test_another_command_is_refused(
    change, sentence, undisturbed, flags, command, mixed
):
    output, _ = undisturbed
    before = contents(output)
    change = change.replace("IMAGES", str(mixed))
    status, _, errors = command("embed", *flags, f"--output={output}", change)
    assert status == 2 and sentence in errors and errors.count("\n") == 1
    assert contents(output) == before
