"""Studies whose lines, flags or records are wrong."""

from bad_case import Case
from world import write

STUDY = "study TINY --study_dir=birds"
CASES = (
    Case(
        "no folder of the study",
        "study TINY --variant=a:",
        2,
        "--study_dir is missing: give it, or a --flagfile with it.",
    ),
    Case(
        "a study without variants",
        STUDY,
        2,
        "No variant is given: write --variant='NAME: --flag=value'.",
    ),
    Case(
        "a variant whose name is no name",
        f"{STUDY} '--variant=../a: --scales=1'",
        2,
        "--variant='../a: --scales=1': write NAME: --flag=value, or NAME @REFERENCE: "
        "--flag=value, with a name of letters, digits and _.-(), alone.",
    ),
    Case(
        "a quote that is left open",
        f"""{STUDY} '--variant=a: "--data_dir=images'""",
        2,
        """--variant='a: "--data_dir=images' cannot be split into flags (No closing """
        "quotation): close every quote.",
    ),
    Case(
        "two variants of one name",
        f"{STUDY} --variant=a: '--variant=a: --scales=1'",
        2,
        "--variant=a is given 2 times: give each its own name.",
    ),
    Case(
        "a misspelt flag of a variant",
        f"{STUDY} --variant=a: '--variant=b: --scale=1'",
        2,
        "Variant b: --scale=1 is no flag of deml_tf.train: did you mean --scales, or "
        "see python -m deml_tf.train --help for all.",
    ),
    Case(
        "a wrong value in a variant",
        f"{STUDY} --variant=a: '--variant=b: --scales=0'",
        2,
        "Variant b: --scales=0: it must be at least 1.",
    ),
    Case(
        "a variant whose flags do not fit the common ones",
        f"{STUDY} --variant=a: '--variant=b: --embedding_dim=3'",
        2,
        "Variant b: --embedding_dim=3: 2 scales x 2 learners need at least 4.",
    ),
    Case(
        "a setting of what a variant does not choose",
        f"{STUDY} --variant=a: '--variant=b: --adversary_steps=3'",
        2,
        "Variant b: --adversary_steps=3 is for --decoupling=adversary, not hinge: "
        "leave it out, or give --decoupling=adversary.",
    ),
    Case(
        "one seed for all runs of a study",
        f"{STUDY} --variant=a: --seed=3",
        2,
        "Variant a: --seed=3 is for one run: give the seeds of the study, such as "
        "--seeds=0,1,2.",
    ),
    Case(
        "a seed twice",
        f"{STUDY} --variant=a: --seeds=0,0",
        2,
        "--seeds=0,0: give whole numbers from 0 up, each once, separated by commas.",
    ),
    Case(
        "a reference that is no variant",
        f"{STUDY} --variant=a: --reference=b",
        2,
        "--reference=b: 'b' is no variant to compare with; give one of a.",
    ),
    Case(
        "a study's records that are no JSON",
        f"{STUDY} --variant=a:",
        1,
        "birds/study.json is not what a study writes (JSONDecodeError: Expecting "
        "value: line 1 column 1 (char 0)): delete it, or name another folder with "
        "--output=DIR.",
        write("birds/study.json", "words"),
    ),
    Case(
        "a study's page below a file",
        f"{STUDY} --variant=a: --output=tiny.cfg",
        2,
        "--output=tiny.cfg/study.json leads through the file DIR/tiny.cfg: name a file "
        "elsewhere.",
    ),
)
