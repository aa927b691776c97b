"""The older address of `tenuto.exceptions`, with the names that releases before 1.0 of the API used."""

from tenuto.exceptions import (
    AuthorizationError,
    ClientError,
    FlowStorageError,
    ObjectNotFoundError,
    PrefectException,
    PrefectSignal,
    TaskTimeoutSignal,
    TenutoException,
    TenutoSignal,
    VersionLockMismatchSignal,
)

PrefectError = PrefectException
StorageError = FlowStorageError
TaskTimeoutError = TaskTimeoutSignal
VersionLockError = VersionLockMismatchSignal

__all__ = [
    "AuthorizationError",
    "ClientError",
    "FlowStorageError",
    "ObjectNotFoundError",
    "PrefectError",
    "PrefectException",
    "PrefectSignal",
    "StorageError",
    "TaskTimeoutError",
    "TaskTimeoutSignal",
    "TenutoException",
    "TenutoSignal",
    "VersionLockError",
    "VersionLockMismatchSignal",
]
