import os

import pytest

from deml_tf.errors import DataError, UsageError
from deml_tf.serving.version_folder import check_version, next_version, published


def test_next_version(tmp_path):
    assert next_version(tmp_path / "missing") == 1
    for name in ("1", "9", "10", ".11.abc.tmp", "12x", "x"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == 11


def test_refuses_what_exists_or_is_none(tmp_path):
    (tmp_path / "3").mkdir()
    with pytest.raises(UsageError, match="^version=3.*give another, such as 4"):
        check_version(tmp_path, 3)
    with pytest.raises(UsageError, match="^version=0"):
        check_version(tmp_path, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="^output_dir"):
        check_version(tmp_path / "file", 1)
    with pytest.raises(UsageError, match="^output_dir"):
        check_version(tmp_path / "file" / "below", 1)
    with pytest.raises(UsageError, match=r"^output_dir=.*/a\[1\] holds \*, \?, \[ or"):
        check_version(tmp_path / "a[1]", 1)
    assert check_version(tmp_path / "new", 1) == tmp_path / "new" / "1"


def test_gets_its_name_at_the_end(tmp_path):
    target = tmp_path / "models" / "birds" / "1"
    with published(target) as folder:
        (folder / "saved_model.pb").write_text("x")
        assert not target.exists() and folder.parent.parent == target.parent
        assert folder.parent.name.startswith(".1.")
    assert [p.name for p in target.parent.iterdir()] == ["1"]
    assert (target / "saved_model.pb").read_text() == "x"


def test_content_is_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    calls = []
    sync, rename = os.fsync, os.rename

    def synced(handle):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(
        os, "rename", lambda a, b: (calls.append("named"), rename(a, b))
    )
    with published(tmp_path / "birds" / "1") as folder:
        (folder / "variables").mkdir()
        (folder / "variables" / "index").write_text("x")
    assert sorted(calls[:3]) == ["content", "index", "variables"]
    assert calls[3:] == ["named", "birds"]


@pytest.mark.parametrize("error", [DataError, KeyboardInterrupt])
def test_leaves_nothing_after_an_error(tmp_path, error):
    with pytest.raises(error), published(tmp_path / "models" / "1") as folder:
        (folder / "half").write_text("x")
        raise error
    assert not list(tmp_path.iterdir())


def test_leaves_what_was_there(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(DataError), published(tmp_path / "2"):
        raise DataError
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_somebody_else_was_faster(tmp_path):
    said = (
        r"1 cannot be written \(Directory not empty\): what was made for it is whole, "
        r"and now called .*/1\.\w{8}: give the same command again for the next "
        r"version, and delete that folder\.$"
    )
    with pytest.raises(DataError, match=said), published(tmp_path / "1") as folder:
        (folder / "mine").write_text("x")
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "theirs").write_text("x")
    first, second = sorted(tmp_path.iterdir())
    assert (first.name, *map(str, first.iterdir())) == ("1", f"{first}/theirs")
    assert second.name.startswith("1.") and (second / "mine").read_text() == "x"
