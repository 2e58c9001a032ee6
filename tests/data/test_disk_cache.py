import os
import pwd
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from deml_tf.data import disk_cache


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEML_TF_CACHE", str(tmp_path / "cache"))


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("DEML_TF_CACHE", "/somewhere")
    assert str(disk_cache.cache_folder()) == "/somewhere"
    monkeypatch.delenv("DEML_TF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert str(disk_cache.cache_folder()) == "/elsewhere/deml_tf"


def test_no_home_folder_is_no_matter(monkeypatch, tmp_path, capsys):
    for name in ("DEML_TF_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    with disk_cache.DiskCache("a") as cache:
        cache.put([(b"k", "s", b"v")])
        assert cache.get(b"k", "s") is None
    assert not list(tmp_path.iterdir())
    assert "no home folder" in capsys.readouterr().err
    monkeypatch.setenv("DEML_TF_CACHE", "relative")  # somebody chose it
    assert disk_cache.cache_folder() == Path("relative")


def test_two_at_once_share_the_cache(capsys):
    def key(name, n, i):
        return f"/{name}/{n}/{i}".encode()

    def fill(name):
        for n in range(20):
            with disk_cache.DiskCache("shared") as cache:
                cache.put([(key(name, n, i), "now", name.encode()) for i in range(50)])

    threads = [threading.Thread(target=fill, args=[name]) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with disk_cache.DiskCache("shared") as cache:
        found = [cache.get(key(x, n, 7), "now") for x in "ab" for n in range(20)]
        assert cache.get(key("a", 0, 0), "then") is None
    assert found == [b"a"] * 20 + [b"b"] * 20
    assert capsys.readouterr().err == ""


def test_a_value_is_of_one_state_and_outlives_the_process(tmp_path):
    with disk_cache.DiskCache("a") as cache:
        cache.put([(b"key", "old", b"1"), (b"other", "old", b"2")])
        cache.put([(b"key", "new", b"3")])
    with disk_cache.DiskCache("a") as cache:
        assert cache.get(b"key", "new") == b"3" and cache.get(b"key", "old") is None
        assert cache.get(b"other", "old") == b"2"
    with disk_cache.DiskCache("b") as cache:
        assert cache.get(b"key", "new") is None


def test_the_state_of_a_file_changes_with_its_size_and_each_of_its_times(tmp_path):
    """That of its status too: a copy may keep the time of the file it replaces."""
    (tmp_path / "x").write_bytes(b"12")
    status = os.stat(tmp_path / "x")
    names = ("st_size", "st_mtime_ns", "st_ctime_ns")
    facts = {name: getattr(status, name) for name in names}
    changed = [SimpleNamespace(**facts | {name: facts[name] + 1}) for name in names]
    states = [disk_cache.file_state(each) for each in (status, *changed)]  # type: ignore[arg-type]
    assert len(set(states)) == 4


def test_what_cannot_be_stored_is_told_once_and_done_without(tmp_path, capsys):
    (tmp_path / "cache").write_text("a file in the way")
    with disk_cache.DiskCache("a") as cache:
        cache.put([(b"key", "now", b"1")])
        assert cache.get(b"key", "now") is None
    assert capsys.readouterr().err.count("cannot be used") == 1
