"""The errors that Tenuto raises by name. `Tenuto…` and `Prefect…` names are the same classes."""

__all__ = [
    "AuthorizationError",
    "ClientError",
    "ConfigurationError",
    "FlowStorageError",
    "ObjectNotFoundError",
    "ObjectStoreError",
    "PrefectException",
    "PrefectSignal",
    "ResultCorrupt",
    "ServerRequired",
    "TaskTimeoutSignal",
    "TenutoException",
    "TenutoSignal",
    "VersionLockMismatchSignal",
]


class PrefectException(Exception):
    """Base of every error that Tenuto raises by name."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)


class ClientError(PrefectException):
    """A call to a server failed."""


class AuthorizationError(ClientError):
    """The server refused the key it was given."""


class ObjectNotFoundError(ClientError):
    """The server does not know what was asked for."""


class ServerRequired(ClientError):
    """`what` works with a server only, and cannot speak to one yet; `instead` says what works."""

    def __init__(self, what: str, instead: str = "") -> None:
        self.what = what
        self.instead = instead
        advice = f" {instead}" if instead else ""
        super().__init__(
            f"{what} needs a server, to which this version of Tenuto cannot speak about it yet.{advice}"
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.what, self.instead)


class FlowStorageError(PrefectException):
    """A flow's code could not be stored or read back."""


class ConfigurationError(PrefectException, ValueError):
    """A configuration file cannot be used; `path` names it."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"Configuration file {path!r} cannot be used: {problem}. Correct or remove it.")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.problem)


class ObjectStoreError(PrefectException, OSError):
    """An object store did not do what it was asked; `location` and `problem` say which object and why."""

    def __init__(self, location: str, problem: str) -> None:
        self.location = location
        self.problem = problem
        super().__init__(
            f"The object store failed at {location!r}: {problem}. "
            "Check its name, the credentials and the connection, and try again."
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.location, self.problem)


class ResultCorrupt(PrefectException, ValueError):
    """A stored result is not the bytes that were written; `location` and `problem` say which and how."""

    def __init__(self, location: str, problem: str) -> None:
        self.location = location
        self.problem = problem
        super().__init__(
            f"The result stored at {location!r} is damaged: {problem}. "
            "Remove it and run the task that made it again."
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.location, self.problem)


class PrefectSignal(BaseException):
    """
    Base of what user code raises to steer a run.

    Not an `Exception`, so that `except Exception` in a task does not swallow it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)


class TaskTimeoutSignal(PrefectSignal):
    """A task ran longer than its timeout."""


class VersionLockMismatchSignal(PrefectSignal):
    """The server holds a newer version of a state than the one that was to be replaced."""


TenutoException = PrefectException
TenutoSignal = PrefectSignal
