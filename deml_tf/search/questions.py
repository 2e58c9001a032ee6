"""What a request asks for: numbers, labels and images, each checked."""

import json
import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

_LARGEST = 10**18
_MOST_JSON = 2**16  # bytes: parsing them stops everything else


def whole(name: str, value: Any, least: int = 0, most: int = _LARGEST) -> int:
    """Read a whole number.

    Args:
        name: What an error message calls it.
        value: A text or a JSON number.
        least: Its least value.
        most: Its greatest value.

    Raises:
        HTTPException: It is not a whole number, or out of range.
    """
    text = str(value) if type(value) in (int, str) else ""
    found = int(text) if re.fullmatch("[0-9]{1,18}", text) else -1
    if not least <= found <= most:
        limits = f"up to {most}" if most < _LARGEST else "on"
        raise HTTPException(
            400, f"{name}={text[:40]}: give a whole number from {least} {limits}."
        )
    return found


async def uploaded(request: Request) -> tuple[bytes, dict[str, Any]]:
    """Read the form of the web page.

    Args:
        request: A form post with a file called image, and k and label.

    Returns:
        The file, and k and label as they were sent.

    Raises:
        HTTPException: It is something else.
    """
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise HTTPException(400, "The form did not come with an image: choose a file.")
    limits = {"max_files": 1, "max_fields": 8, "max_part_size": 2**14}
    try:
        async with request.form(**limits) as form:
            upload = form.get("image")
            if upload is None or isinstance(upload, str):
                said = "The form came without an image: choose a file."
                raise HTTPException(400, said)
            encoded = await upload.read()
            others = {name: form.get(name) for name in ("k", "label")}
    except (LookupError, UnicodeError) as error:  # of a charset such as "undefined"
        raise HTTPException(
            400, "The form cannot be decoded in the charset that it names."
        ) from error
    if not encoded:
        raise HTTPException(400, "No file is chosen, or it is empty: choose an image.")
    return encoded, others


async def json_object(request: Request) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        request: A request with the object as its body.

    Raises:
        HTTPException: The body is something else, or too large.
    """
    body = await request.body()
    if len(body) > _MOST_JSON:
        raise HTTPException(413, "The JSON is larger than 64 KiB.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The body is no JSON.") from error
    if not isinstance(found, dict):
        raise HTTPException(400, 'The body is no JSON object such as {"row": 7}.')
    return found
