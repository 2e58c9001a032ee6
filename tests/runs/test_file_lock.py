import pytest

from deml_tf.errors import DataError
from deml_tf.runs import file_lock
from deml_tf.runs.file_lock import locked_beside, locked_if_possible


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """By the process that held it, between our opening and our locking."""
    beside, lock, calls = tmp_path / ".a.json.lock", file_lock.try_to_lock, []

    def late(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            beside.unlink()
        return lock(*arguments)

    monkeypatch.setattr(file_lock, "try_to_lock", late)
    with locked_beside(tmp_path / "a.json"):
        assert len(calls) == 2 and beside.exists()
    assert not beside.exists()


def test_a_folder_that_takes_no_lock_is_no_hindrance(tmp_path):
    (tmp_path / "file").touch()
    with locked_if_possible(tmp_path / "file" / "a.json"):
        pass
    for error in (OSError, DataError):  # the block's own pass
        with pytest.raises(error), locked_if_possible(tmp_path / "a.json"):
            raise error
