"""Run folders and embedders: of other flags, spoilt, unfinished, of something else."""

import shutil

import keras
from bad_case import Case
from world import also, embedder, own_images, record, run, write

LONG = f"{'x' * 251}.html"


def linked(path):
    """Makes a link that leads to itself."""
    path.symlink_to(path.name)


OTHER = "evaluate --embedder=e.keras --dataset=folder --data_dir=images"


def lambda_embedder(folder):
    """An embedder with a program of its own inside."""
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Lambda(lambda x: x * 2)(inputs)
    keras.Model(inputs, outputs).save(folder / "e.keras")


def other_model(folder):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(folder / "e.keras")


CASES = (
    Case(
        "a file as run folder",
        "train TINY --run_dir=tiny.cfg",
        2,
        "Run folder tiny.cfg cannot be made or written (File exists): "
        "name another with --run_dir=FOLDER.",
    ),
    Case(
        "a run folder below a file",
        "train TINY --run_dir=tiny.cfg/run",
        2,
        "Run folder tiny.cfg/run cannot be made or written (Not a "
        "directory): name another with --run_dir=FOLDER.",
    ),
    Case(
        "a run folder with other things in it",
        "train TINY --run_dir=images",
        2,
        "Folder images is not empty and is no run (flags.cfg is "
        "missing, class 00 is there): name another with --run_dir=FOLDER.",
    ),
    Case(
        "a run folder that TensorFlow takes for a pattern",
        "train TINY '--run_dir=runs/lr[12]'",
        2,
        "--run_dir=runs/lr[12] holds *, ?, [ or \\, which TensorFlow takes for a "
        "pattern: give --run_dir=FOLDER without them.",
    ),
    Case(
        "a run of other flags",
        "train TINY --scales=3",
        2,
        "Run folder run was made with other flags (scales: 2 -> 3): name "
        "another with --run_dir=FOLDER, or use the old flags.",
        run(),
    ),
    Case(
        "a run whose flags are spoilt",
        "train TINY",
        1,
        "run/flags.cfg is no UTF-8 text: name the folder of a whole run, or a new one.",
        also(run(), write("run/flags.cfg", b"\xff\xfe")),
    ),
    Case(
        "a run whose journal is spoilt",
        "train TINY",
        1,
        "run/metrics.jsonl, line 2, is no JSON record: delete that line.",
        also(run(), write("run/metrics.jsonl", '{"step": 1}\n{"st\n{"step": 2}\n')),
    ),
    Case(
        "a run whose checkpoint is spoilt",
        "train TINY",
        1,
        "The checkpoint run/checkpoints/ckpt-3 cannot be read or is of "
        "another network: remove run/checkpoints to start anew.",
        also(
            run(),
            write("run/checkpoints/checkpoint", 'model_checkpoint_path: "ckpt-3"\n'),
            write("run/checkpoints/ckpt-3.index", "spoilt"),
            write("run/checkpoints/ckpt-3.data-00000-of-00001", "spoilt"),
        ),
        frozenset({"run/split.json"}),
    ),
    Case(
        "a run whose only, unnamed checkpoint is spoilt",
        "train TINY",
        1,
        "The checkpoint run/checkpoints/ckpt-3 cannot be read or is of "
        "another network: remove run/checkpoints to start anew.",
        also(
            run(),
            write("run/checkpoints/ckpt-3.index", "spoilt"),
            write("run/checkpoints/ckpt-3.data-00000-of-00001", "spoilt"),
        ),
        frozenset({"run/split.json"}),
    ),
    Case(
        "a run begun with an image that is gone",
        "train TINY --data_dir=own",
        1,
        "The run was begun with the image DIR/own/class 05/1.png, which cannot be read "
        "now (No such file or directory): put back what is missing, or train again "
        "with another --run_dir=FOLDER.",
        also(
            own_images,
            run(data_dir="own"),
            record(),
            lambda folder: (folder / "own/class 05/1.png").unlink(),
        ),
    ),
    Case(
        "a run whose record of its split is cut short",
        "evaluate --run_dir=run",
        1,
        "run/split.json, which says what the run was begun with, is spoilt (Expecting "
        "property name enclosed in double quotes: line 1 column 2 (char 1)): put it "
        "back from a copy, or train again with another --run_dir=FOLDER.",
        also(run(finished=True), write("run/split.json", "{")),
    ),
    Case(
        "a run whose data set is gone",
        "evaluate --run_dir=run",
        2,
        "--data_dir=own is no longer at DIR/own, where it was when the run was begun: "
        "put the data set back there.",
        also(
            own_images,
            run(finished=True, data_dir="own"),
            record(),
            lambda folder: shutil.rmtree(folder / "own"),
        ),
    ),
    Case(
        "an unfinished run to score",
        "evaluate --run_dir=run",
        2,
        "run is no finished run: train it to its end first.",
        run(),
    ),
    Case(
        "a finished run without its embedder",
        "evaluate --run_dir=run",
        1,
        "There is no embedder at run/embedder.keras: name an embedder.keras.",
        also(run(), write("run/results.json", "{}")),
    ),
    Case(
        "a finished run with an unknown flag",
        "evaluate --run_dir=run",
        1,
        "run/flags.cfg is not what a training writes (--frobnicate=3 is "
        "no flag of this command: see --help for all): name another run.",
        also(run(finished=True), write("run/flags.cfg", "--frobnicate=3\n")),
    ),
    Case(
        "images that there are not",
        "evaluate --run_dir=run --split=validation",
        2,
        "--split=validation: the data set has no such images.",
        run(finished=True, validation_classes=0),
    ),
    Case(
        "a run, and images of another data set",
        "evaluate --run_dir=run --dataset=plumage",
        2,
        "--dataset=plumage is not that of the run (folder), whose own images are "
        "scored: leave it out, or give --embedder=run/embedder.keras in place of "
        "--run_dir=run.",
        run(finished=True),
    ),
    Case(
        "attributes of images that have none",
        "evaluate --run_dir=run --probe_attributes",
        2,
        "--probe_attributes=true reads the attributes of --dataset=plumage, which "
        "--dataset=folder has not: leave it out.",
        run(finished=True),
    ),
    Case(
        "attributes of images without an object",
        "evaluate --embedder=e.keras --dataset=plumage --data_dir=birds "
        "--probe_attributes --layout=empty",
        2,
        "--probe_attributes=true finds nothing to read with --layout=empty: leave out "
        "one of the two.",
    ),
    Case(
        "a folder as output of the scores",
        "evaluate --run_dir=run --output=images",
        2,
        "--output=images is a folder: name a file elsewhere.",
        run(finished=True),
    ),
    Case(
        "an embedder that is not there",
        OTHER,
        1,
        "There is no embedder at e.keras: name an embedder.keras.",
    ),
    Case(
        "an embedder cut short",
        OTHER,
        1,
        "e.keras is no embedder of this project (it is cut short, or no "
        ".keras file): name an embedder.keras that a training has "
        "written.",
        embedder("e.keras", cut=5000),
    ),
    Case(
        "an embedder with weights that are no numbers",
        OTHER,
        1,
        "e.keras is spoilt, for a weight in it is NaN or infinite: name an "
        "undamaged embedder.keras.",
        embedder("e.keras", first=float("inf")),
    ),
    Case(
        "an embedder with one bit changed",
        OTHER,
        1,
        "e.keras is no embedder of this project (model.weights.h5 in it is damaged): "
        "name an embedder.keras that a training has written.",
        embedder("e.keras", flip=True),
    ),
    Case(
        "a text as embedder",
        OTHER,
        1,
        "e.keras is no embedder of this project (it is cut short, or no "
        ".keras file): name an embedder.keras that a training has "
        "written.",
        write("e.keras", "an embedder"),
    ),
    Case(
        "another project's model",
        OTHER,
        1,
        "e.keras is no embedder of this project (No such layer: deml): "
        "name an embedder.keras that a training has written.",
        other_model,
    ),
    Case(
        "a model with a program in it",
        OTHER,
        1,
        "e.keras is no embedder of this project (Requested the "
        "deserialization of a `Lambda` layer whose `function` is a Python"
        " lambda): name an embedder.keras that a training has written.",
        lambda_embedder,
    ),
    Case(
        "something else than a run",
        "compare images",
        2,
        "images is no finished run: train it first, or name another.",
    ),
    Case(
        "an unfinished run to compare",
        "compare run",
        2,
        "run is no finished run: train it first, or name another.",
        run(),
    ),
    Case(
        "a run whose results are no JSON",
        "compare run",
        2,
        "run is no finished run: train it first, or name another.",
        also(run(), write("run/results.json", "{")),
    ),
    Case(
        "a run whose results are none",
        "compare run",
        1,
        "run/results.json lacks the scores of a run: train it again, or name another.",
        also(run(), write("run/results.json", "{}")),
    ),
    Case(
        "a page below a file",
        "compare run --output=tiny.cfg/page.html",
        2,
        "--output=tiny.cfg/page.html leads through the file DIR/tiny.cfg:"
        " name a file elsewhere.",
        run(finished=True),
    ),
    Case(
        "a page that is a link to itself",
        "compare run --output=loop.html",
        2,
        "--output=loop.html cannot be written (Too many levels of symbolic links): "
        "name a file elsewhere.",
        also(run(finished=True), lambda folder: linked(folder / "loop.html")),
    ),
    Case(
        "a page whose name no disk takes",
        f"compare run --output={LONG}",
        2,
        f"--output={LONG}: give a shorter path, for no disk has so long a name.",
        run(finished=True),
    ),
    Case(
        "JSON to a descriptor that is not open",
        "audit --dataset=folder --data_dir=images --json=/dev/fd/77",
        2,
        "--json=/dev/fd/77 is not open: name a file elsewhere.",
    ),
    Case(
        "findings in the place of another file",
        "audit --dataset=folder --data_dir=images --output=birds.html",
        2,
        "--output=birds.html: its findings would replace birds.json, which no audit "
        "has written: name another file with --json.",
        lambda folder: (folder / "birds.json").write_text("[]"),
    ),
    Case(
        "boxes, at which an audit does not look",
        "audit --dataset=folder --data_dir=images --crop_to_box",
        2,
        "--crop_to_box is for trainings: leave it out, for an audit looks at whole "
        "files, and lists all that cannot be read.",
    ),
)
