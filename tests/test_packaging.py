"""What is built, and whether it works where nothing but it was installed."""

import ast
import email
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deml_tf.models.embedder import build_deml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "deml_tf"
KEPT_OUT = [".venv*", ".git", "runs", "data", "build", "dist", "*.egg-info", ".*_cache"]
LEFT_LYING = ["runs/mine/embedder.keras", "data/a/0.png", "export/models/mine/1/x.pb"]
CONSUMER = """
import deml_tf
from deml_tf.layers import ObjectAttention
from deml_tf.losses import BinomialDeviance


reveal_type(ObjectAttention(steps=10))
reveal_type(deml_tf.build_deml(scales=1))
reveal_type(deml_tf.retrieval.evaluate([[1.0]], [1]))
deml_tf.retrieve  # no such thing
BinomialDeviance(alpha="2")  # no number
"""


def run(*command, **options):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=1800, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The work tree without what is not ours, and with what users leave in theirs."""
    folder = tmp_path_factory.mktemp("sources") / "deml_tf"

    def left_out(where, names):
        top = Path(where) == ROOT
        patterns = KEPT_OUT if top else ["__pycache__"]
        out = set(shutil.ignore_patterns(*patterns)(where, names))
        return out | ({"models"} if Path(where) == ROOT / "export" else set())

    shutil.copytree(ROOT, folder, ignore=left_out)
    for name in LEFT_LYING:
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text("large")
    return folder


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory):
    """Sdist, the wheel made of it, and a wheel made of the sources."""
    folder = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "build", "--no-isolation"]
    run(*build, "--outdir", folder / "both", sources)
    run(*build, "--wheel", "--outdir", folder / "direct", sources)
    (sdist,) = (folder / "both").glob("*.tar.gz")
    (wheel,) = (folder / "both").glob("*.whl")
    (direct,) = (folder / "direct").glob("*.whl")
    return sdist, wheel, direct


def read_wheel(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(built, sources):
    _, wheel, direct = built
    files = read_wheel(wheel)
    assert files == read_wheel(direct)
    expected = {
        str(path.relative_to(sources))
        for path in (sources / "deml_tf").rglob("*")
        if path.is_file()
    }
    assert {"deml_tf/py.typed", "deml_tf/reports/templates/run.html.jinja"} <= expected
    assert {name for name in files if ".dist-info/" not in name} == expected
    assert len(wheel.read_bytes()) < 1_000_000


def test_the_sdist_holds_what_the_readme_speaks_of(built, sources):
    with tarfile.open(built[0]) as archive:
        top, *_ = {name.split("/")[0] for name in archive.getnames()}
        files = {
            str(Path(member.name).relative_to(top))
            for member in archive.getmembers()
            if member.isfile()
        }
    for name in ("README.md", "Makefile", "requirements.lock", "tests/conftest.py"):
        assert name in files
    for name in ("LICENSE", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md"):
        assert name in files
    for folder in ("configs", "docs", "export", "tests", "deml_tf"):
        there = {
            str(path.relative_to(sources))
            for path in (sources / folder).rglob("*")
            if path.is_file()
        }
        assert there - set(LEFT_LYING) <= files
    assert not files & set(LEFT_LYING)


def test_what_packaging_tools_are_told(built):
    files = read_wheel(built[1])
    (text,) = (t for name, t in files.items() if name.endswith("/METADATA"))
    found = email.message_from_bytes(text)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["License-File"] == "LICENSE"
    assert found["Version"] in (ROOT / "CITATION.cff").read_text()
    assert found["Version"] in (ROOT / "CHANGELOG.md").read_text()
    assert found["Author"] and found.get_all("Project-URL")
    extras = set(found.get_all("Provides-Extra") or ())
    readme = (ROOT / "README.md").read_text()
    assert extras >= {"gpu"} and all(
        f"`{e}`" in readme for e in extras - {"gpu", "dev"}
    )
    assert "pip install '.[gpu]'" in readme


def commands():
    """The package's commands by name, each with its source."""
    sources = [*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__main__.py")]
    return {
        path.parent.name if path.stem == "__main__" else path.stem: path
        for path in sources
        if 'if __name__ == "__main__":' in path.read_text()
    }


def test_every_command_has_a_script(built):
    modules = {
        name: ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name, path in commands().items()
    }
    assert set(modules) >= {"train", "evaluate", "compare", "audit", "export", "client"}
    files = read_wheel(built[1])
    (listed,) = (text for name, text in files.items() if "entry_points" in name)
    scripts = dict(
        line.split(" = ") for line in listed.decode().split("\n")[1:] if line
    )
    assert scripts == {
        f"deml-tf-{name.replace('_', '-')}": f"{module}:cli"
        for name, module in modules.items()
    }


def environment_variables():
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return kept | {"TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "80"}


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """An environment of its own, with the wheel; dependencies are lent by ours."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    install = ["install", "--quiet", "--no-deps", "--no-index", built[1]]
    run(*pip, "--python", python, *install, env=environment_variables())
    own = run(python, "-c", "import site; print(site.getsitepackages()[0])").strip()
    assert Path(own, "deml_tf").is_dir()
    # A line with a folder makes it importable and does not run the .pth files in it,
    # such as the one of an editable install of the work tree. Not before the install,
    # nor with a PYTHONPATH: pip would take it for done where the same version is lent.
    Path(own, "lent.pth").write_text("\n".join(site.getsitepackages()))
    return folder


@pytest.fixture(scope="module")
def tried(environment, tmp_path_factory):
    """What installed.py found there, and the embeddings of here and of there."""
    folder = tmp_path_factory.mktemp("tried")
    model = build_deml(
        weights="none", width=0.25, input_size=40, scales=1, learners=1, embedding_dim=8
    )
    model.save(folder / "embedder.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3)).astype("uint8")
    np.save(folder / "images.npy", images)
    files = [folder / name for name in ("images.npy", "embedder.keras", "out.npy")]
    scripts = environment / "bin"
    # Isolated, or tests/ would be the first place to import from.
    start = [scripts / "python", "-I", ROOT / "tests" / "installed.py"]
    output = run(*start, *files, scripts, cwd=folder, env=environment_variables())
    return json.loads(output.splitlines()[-1]), np.asarray(model(images)), files[2]


def test_it_works_where_it_is_installed(environment, tried):
    said, expected, found = tried
    home = Path(said["home"])
    assert home.is_relative_to(environment)  # and so is not the work tree
    data = [*PACKAGE.rglob("*.jinja"), PACKAGE / "py.typed"]
    assert len(data) > 2
    for path in data:
        assert (home / path.relative_to(PACKAGE)).read_bytes() == path.read_bytes()
    np.testing.assert_allclose(np.load(found), expected, atol=1e-6, rtol=0)


def test_scripts_are_the_commands(environment, tried):
    helps = tried[0]["helps"]
    assert set(helps) == {f"deml-tf-{n.replace('_', '-')}" for n in commands()}
    for name, path in commands().items():
        # The flags stand below the program's name, which differs.
        said = helps[f"deml-tf-{name.replace('_', '-')}"]
        assert [status for status, _ in said] == [0, 0]
        script, module = (re.sub(r"\n\S+:\n", "\n", text) for _, text in said)
        assert script == module and "\n  --" in script
        purpose = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert script.startswith(purpose.splitlines()[0])


def test_a_script_starts(environment, tried):
    """By itself, from another folder; wrong usage ends as with `python -m`."""
    script = environment / "bin" / "deml-tf-compare"
    assert os.access(script, os.X_OK)
    first = script.read_text().splitlines()[0]
    assert Path(first.removeprefix("#!")).samefile(environment / "bin" / "python")
    status, _, errors = tried[0]["mistake"]
    assert status == 2
    assert errors.splitlines()[-1].startswith("error: --outptu=x is no flag of")


def test_the_pages_name_flags_that_there_are(tried):
    """On a command's line those of that command, in the text those of any."""
    helps = tried[0]["helps"]
    flags = {
        name.removeprefix("deml-tf-").replace("-", "_"): {
            prefix + flag
            for no, flag in re.findall(r"^  --(\[no\])?(\w+)", said[0][1], re.M)
            for prefix in ("", "no" if no else "")
        }
        for name, said in helps.items()
    }
    everywhere = {"flagfile", "help"}
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    pages += [ROOT / "export" / "README.md", *(ROOT / "configs").glob("*.cfg")]
    seen = 0
    for page in pages:
        text = page.read_text().replace("\\\n", " ")
        if page.name == "CHANGELOG.md":
            continue  # it names flags that were
        for name, rest in re.findall(r"python -m deml_tf\.(\w+)([^\n`]*)", text):
            own = set(re.findall(r"(?<= )--(\w+)", rest.partition(" -- ")[0]))
            assert own <= flags[name] | everywhere, (page.name, name)
            seen += len(own)
        for flag in re.findall(r"`--(\w+)", text):
            assert flag in everywhere.union(*flags.values()), (page.name, flag)
            seen += 1
    assert seen > 60


def test_types_reach_another_program(environment, tmp_path):
    (tmp_path / "consumer.py").write_text(CONSUMER)
    checker = [sys.executable, "-m", "basedpyright", "--outputjson", "consumer.py"]
    done = subprocess.run(
        [*checker, "--pythonpath", environment / "bin" / "python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    said = json.loads(done.stdout)["generalDiagnostics"]
    errors = [d["rule"] for d in said if d["severity"] == "error"]
    assert sorted(errors) == ["reportArgumentType", "reportAttributeAccessIssue"]
    types = [d["message"] for d in said if d["severity"] == "information"]
    names = [re.findall('is "(.*)"', text)[0] for text in types]
    assert names == ["ObjectAttention", "Model", "dict[str, float]"]
