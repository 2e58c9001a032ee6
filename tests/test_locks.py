"""What `make` installs is pinned, and checked by hash."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted(ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_with_its_hashes(lock):
    packages = re.split(r"\n(?=\w)", lock.read_text().replace("\\\n", " "))
    assert len(packages) > 2
    for package in packages:
        assert re.match(r"[\w.-]+==\S+ ", package)
        assert " --hash=sha256:" in package
    assert "://" not in lock.read_text()


def test_make_installs_nothing_unchecked():
    lines = (ROOT / "Makefile").read_text().splitlines()
    installed = [line for line in lines if "pip install" in line and " -r " in line]
    assert {line.split(" -r ")[1] for line in installed} == {p.name for p in LOCKS}
    assert all(" --require-hashes " in line for line in installed)
