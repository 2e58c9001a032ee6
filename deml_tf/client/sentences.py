"""What a server's failure means to whoever started the client, in one sentence."""

from deml_tf.client.failures import ServerError
from deml_tf.client.target import INPUT, Target
from deml_tf.errors import DataError, UsageError

_NAMES = {"grpc": "gRPC", "rest": "REST"}


def explain(error: ServerError, target: Target) -> UsageError | DataError:
    """Names the argument at fault, what the server says, and the mend.

    Args:
        error: One that no retry mended.
        target: Who was asked.
    """
    if error.code == "NOT_FOUND":
        return UsageError(
            f"model={target.model}: {target.server} has no such model or version "
            f"({error}): name one that it serves"
        )
    if error.hopeless:
        return UsageError(
            f"signature={target.signature} cannot be asked at {target.server} ({error})"
            ": name another"
        )
    if error.code == "DEADLINE_EXCEEDED":
        return DataError(
            f"server={target.server} does not answer in time ({error}): give it longer "
            "with timeout=SECONDS, or less with batch_size=N"
        )
    return DataError(
        f"server={target.server} cannot be reached ({error}): start it, or name the "
        f"port on which it speaks {_NAMES[target.protocol]}"
    )


def check_signature(signatures: dict[str, set[str]], target: Target) -> None:
    """Refuses a signature that does not take encoded images.

    Args:
        signatures: The inputs' names of each that the model has.
        target: Who is asked.

    Raises:
        UsageError: The signature is missing or takes something else.
    """
    fit = sorted(name for name, inputs in signatures.items() if inputs == {INPUT})
    if target.signature not in fit:
        known = target.signature in signatures
        wrong = "takes no encoded images" if known else "is not there"
        raise UsageError(
            f"signature={target.signature} {wrong}: {target.model} at {target.server} "
            f"has {' and '.join(fit) or 'none'} for them"
        )
