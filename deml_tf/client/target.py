"""The model that is asked, and the user's sentence for each failure of its server."""

import dataclasses

from deml_tf.client.failures import ServerError
from deml_tf.errors import DataError, UsageError

INPUT = "image_bytes"
_NAMES = {"grpc": "gRPC", "rest": "REST"}


@dataclasses.dataclass(frozen=True)
class Target:
    """A model on a server.

    Attributes:
        server: `HOST:PORT`.
        model: Its name there.
        protocol: `grpc` or `rest`.
        version: One version; None for the newest that is loaded, or for the label's.
        label: A label of the server's configuration, such as `stable`.
        signature: One that takes `image_bytes`: `serving_default` or `explain`.
    """

    server: str
    model: str
    protocol: str = "grpc"
    version: int | None = None
    label: str | None = None
    signature: str = "serving_default"

    def explain(self, error: ServerError) -> UsageError | DataError:
        """Put a failure into words: the argument, the server's message, the mend.

        Args:
            error: One that no retry mended.
        """
        if error.code == "NOT_FOUND":
            return UsageError(
                f"model={self.model}: {self.server} has no such model or version "
                f"({error}): name one that it serves"
            )
        if error.hopeless:
            return UsageError(
                f"signature={self.signature} cannot be asked at {self.server} "
                f"({error}): name another"
            )
        if error.code == "DEADLINE_EXCEEDED":
            return DataError(
                f"server={self.server} does not answer in time ({error}): give it "
                "longer with timeout=SECONDS, or less with batch_size=N"
            )
        return DataError(
            f"server={self.server} cannot be reached ({error}): start it, or name the "
            f"port on which it speaks {_NAMES[self.protocol]}"
        )

    def check_signature(self, signatures: dict[str, set[str]]) -> None:
        """Refuse a signature that does not take encoded images.

        Args:
            signatures: The inputs' names of each signature that the model has.

        Raises:
            UsageError: The signature is missing or takes something else.
        """
        fit = sorted(name for name, inputs in signatures.items() if inputs == {INPUT})
        if self.signature not in fit:
            known = self.signature in signatures
            wrong = "takes no encoded images" if known else "is not there"
            raise UsageError(
                f"signature={self.signature} {wrong}: {self.model} at {self.server} "
                f"has {' and '.join(fit) or 'none'} for them"
            )
