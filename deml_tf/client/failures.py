"""A server's failure, in one vocabulary for gRPC and REST: gRPC's codes."""

from deml_tf.cli.printing import printable

# Worth another try: nothing is wrong with the request itself. Embedding changes nothing
# on the server, so a request that timed out may be sent again.
_RETRIED = frozenset(
    {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"}
)
# They concern every request alike: asking for one image instead of eight does not help.
_HOPELESS = frozenset(
    {
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "UNIMPLEMENTED",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
    }
)
_LONGEST = 300  # characters of a server's message that are passed on


class ServerError(Exception):
    """A request that failed.

    Args:
        code: A status code's name, such as `UNAVAILABLE`; `HTTP 418` for a status
            that gRPC has no code for.
        message: The message of the server, or of the connection to it.
    """

    def __init__(self, code: str, message: str | None):
        text = printable(" ".join((message or "").split()))[:_LONGEST]
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code
        self.untrusted = "certificate_verify_failed" in text.lower()
        # The same code stands for a busy server and for a message too long for gRPC.
        too_long = "larger than max" in text
        self.retry = code in _RETRIED and not too_long and not self.untrusted
        # A redirect, or a proxy that wants a password.
        elsewhere = code.startswith("HTTP 3") or code == "HTTP 407"
        self.hopeless = code in _HOPELESS or elsewhere or self.untrusted

    @property
    def of_all(self) -> bool:
        """Whether other images would fare no better."""
        return self.retry or self.hopeless


class WrongAnswerError(ServerError):
    """An answer that does not fit the request; other images would fare no better.

    Args:
        message: What is wrong with it.
    """

    def __init__(self, message: str):
        super().__init__("INTERNAL", message)
        self.hopeless = True


class OtherVersionError(ServerError):
    """Another version of the model answered than the one that was asked.

    Args:
        asked: Number of the version that was asked.
        answered: Number of the version that answered.
    """

    def __init__(self, asked: int, answered: int):
        super().__init__("ABORTED", f"version {answered} answers for version {asked}")
        self.retry, self.hopeless = False, True
