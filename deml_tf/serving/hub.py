"""Uploads an export to a repository of the Hugging Face Hub."""

import importlib
import re
from pathlib import Path
from typing import Any

from deml_tf.cli.error_text import first_sentence
from deml_tf.errors import DataError, UsageError

SCHEME = "hf://"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def check_hub(address: str) -> str:
    """Read an address, and refuse it if nothing could be pushed there.

    Args:
        address: `hf://OWNER/NAME`.

    Returns:
        `OWNER/NAME`.

    Raises:
        UsageError: It is not such an address, or huggingface_hub is not installed.
    """
    name = address.removeprefix(SCHEME)
    if name == address or not _REPOSITORY.fullmatch(name):
        raise UsageError(
            f"push_to={address} is no repository: give {SCHEME}OWNER/NAME."
        )
    _library()
    return name


def push(folder: Path, repository: str, message: str) -> str:
    """Upload a version's folder in place of what a repository holds.

    A repository that does not exist is made, as a private one.

    Args:
        folder: Folder of the version; its README.md becomes the model card.
        repository: `OWNER/NAME`, as `check_hub` returns it.
        message: Message of the commit.

    Returns:
        The address of the commit.

    Raises:
        DataError: The Hub did not accept it. The export stays where it is.
    """
    library = _library()
    try:
        api = library.HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=str(folder),
            commit_message=message,
            delete_patterns="*",  # else files of the previous version would stay
        )
    except Exception as error:  # network errors differ between the library's versions
        raise DataError(
            f"{SCHEME}{repository} did not take the export ({first_sentence(error)}): "
            f"it is whole in {folder}; log in with `hf auth login`, or upload that "
            "folder."
        ) from error
    return str(getattr(commit, "commit_url", commit))


def _library() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError:
        raise UsageError(
            "push_to needs huggingface_hub, which is not installed: run "
            "pip install 'deml_tf[hub]'."
        ) from None
