"""One batch of images: read, sent, and sent one by one where it is refused."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deml_tf.client.answers import Answer
from deml_tf.client.failures import ServerError
from deml_tf.client.files import ImageFile
from deml_tf.client.target import Requests

if TYPE_CHECKING:  # it needs the extra, which is asked for later
    from deml_tf.client.retries import Patience

REFUSED = "refused by the server"
Found = list[tuple[int, Answer]]


def ask(
    requests: Requests, files: Mapping[int, ImageFile], patience: "Patience"
) -> tuple[Found, ServerError | None]:
    """Embeds a batch, so that one bad image does not take its neighbours along.

    A server gives one error to a whole batch. If that is none that waiting mends, the
    images are sent one by one; those still refused are answered as not valid.

    Args:
        requests: The way to the server.
        files: By index.
        patience: How often to try.

    Returns:
        Indices and answers, and the error that kept it from the other images: of
        those that concern every image alike, such as an unavailable server.
    """
    found: Found = []
    images: dict[int, bytes] = {}
    for index, file in files.items():
        try:
            images[index] = file.read()
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            found.append((index, Answer(reason=reason)))
    try:
        return found + _send(requests, images, patience), None
    except ServerError as error:
        if error.of_all:
            return found, error
    for index, image in images.items():
        try:
            found += _send_twice(requests, {index: image}, patience)
        except ServerError as error:
            if error.of_all:
                return found, error
            found.append((index, Answer(reason=f"{REFUSED} ({error})")))
    return found, None


def _send_twice(requests, images, patience):
    # The server may have put it into a batch with another client's bad request.
    try:
        return _send(requests, images, patience)
    except ServerError as error:
        if error.of_all:
            raise
    return _send(requests, images, patience)


def _send(requests, images, patience) -> Found:
    if not images:
        return []
    contents = list(images.values())
    outputs = patience.call(lambda seconds: requests.predict(contents, seconds))
    rows = zip(images, outputs.embedding, outputs.valid, outputs.boxes, strict=True)
    return [
        (index, Answer(embedding, boxes, "" if valid else "not an image"))
        for index, embedding, valid, boxes in rows
    ]
