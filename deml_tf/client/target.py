"""The model to ask, and the error message for each failure of its server."""

import dataclasses

from deml_tf.client.failures import OtherVersionError, ServerError, WrongAnswerError
from deml_tf.client.server import Server
from deml_tf.errors import DataError, UsageError

INPUT = "image_bytes"
_REFUSALS = ("PERMISSION_DENIED", "UNAUTHENTICATED")
_OF_SIGNATURE = ("FAILED_PRECONDITION", "UNIMPLEMENTED")


@dataclasses.dataclass(frozen=True)
class Target:
    """A model on a server.

    Attributes:
        server: Where it is.
        model: Its name there.
        version: One version; None for the newest that is loaded, or for the label's.
        label: A label of the server's configuration, such as `stable`.
        signature: One that takes `image_bytes`: `serving_default` or `explain`.

    Raises:
        UsageError: An argument is wrong.
    """

    server: Server
    model: str
    version: int | None = None
    label: str | None = None
    signature: str = "serving_default"

    def __post_init__(self):
        """Refuse wrong arguments."""
        if self.version is not None and self.label is not None:
            raise UsageError(
                f"label={self.label}: leave it out, or version={self.version}."
            )
        if self.version is not None and not 0 <= self.version < 2**63:
            raise UsageError(f"version={self.version}: give a number from 0 on.")
        for name in ("model", "label", "signature"):
            value = getattr(self, name)
            if value is not None and not (value and value.isprintable()):
                raise UsageError(f"{name}={value!r}: give a name of printable letters.")

    def explain(
        self, error: ServerError, version: int | None = None
    ) -> UsageError | DataError:
        """Put a failure into words: the argument, the server's message, the remedy.

        Args:
            error: One that retries did not resolve.
            version: The one that was asked, if it is known.
        """
        found = self._of_model(error, version)
        if found:
            return found
        where = self.server.shown
        if error.code in _REFUSALS:
            return DataError(
                f"server={where} refuses this client ({error}): give what it asks for "
                "with header=NAME=VALUE"
            )
        if error.untrusted:
            return DataError(
                f"server={where} has a certificate that nobody trusted has signed "
                f"({error}): give its authority's with ca=FILE"
            )
        if error.code == "DEADLINE_EXCEEDED":
            return DataError(
                f"server={where} does not answer in time ({error}): give it longer "
                "with timeout=SECONDS, or less with batch_size=N"
            )
        mend = "start it" + (
            f", name it in no_proxy={self.server.host}" if self.server.proxy else ""
        )
        return DataError(
            f"server={where} cannot be reached ({error}): {mend}, or name the port on "
            f"which it speaks {self.server.spoken}"
        )

    def _of_model(
        self, error: ServerError, version: int | None
    ) -> UsageError | DataError | None:
        """Explain a failure that is not one of the connection."""
        where = self.server.shown
        begun = version is not None and self.version is None
        if isinstance(error, OtherVersionError) or (
            begun and error.code == "NOT_FOUND"
        ):
            return DataError(
                f"model={self.model}: version {version}, which this run began with, is "
                f"not there any more at {where} ({error}): run it anew, since "
                "embeddings of two versions cannot be compared"
            )
        if error.code == "NOT_FOUND":
            return UsageError(
                f"model={self.model}: {where} has no such model or version ({error}): "
                "name one that it serves"
            )
        if isinstance(error, WrongAnswerError):
            return DataError(
                f"model={self.model}: {where} does not answer like an embedder "
                f"({error}): name the model of an export"
            )
        if error.code in _OF_SIGNATURE:
            return UsageError(
                f"signature={self.signature} cannot be asked at {where} ({error}): "
                "name another"
            )
        return None

    def check_signature(self, signatures: dict[str, set[str]]) -> None:
        """Refuse a signature that does not take encoded images.

        Args:
            signatures: The names of the inputs of each signature of the model.

        Raises:
            UsageError: The signature is missing or takes something else.
        """
        fit = sorted(name for name, inputs in signatures.items() if inputs == {INPUT})
        if self.signature not in fit:
            known = self.signature in signatures
            wrong = "takes no encoded images" if known else "is not there"
            raise UsageError(
                f"signature={self.signature} {wrong}: {self.model} at "
                f"{self.server.shown} has {' and '.join(fit) or 'none'} for them"
            )
