"""
Buckets of object stores: bytes in, verified bytes out.

Everything that speaks to obstore stands here. Clients are made at first use and left out of pickles.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tenuto._base.checksums import Checksum, checksum_of
from tenuto._base.context import context
from tenuto._base.importtools import import_path
from tenuto._base.masking import register_secret
from tenuto.exceptions import ObjectStoreError, ResultCorrupt

__all__ = ["Bucket", "check_url", "open_azure", "open_gcs", "open_s3", "open_url", "translate_boto3_kwargs"]

# One request, its body included; a connection that says nothing for so long is given up and tried again.
TIMEOUT = timedelta(minutes=5)
CONNECT_TIMEOUT = timedelta(seconds=10)
RETRIES_MAX = 3
RETRY_TIMEOUT = timedelta(minutes=10)

_SCHEMES = ("abfs", "abfss", "adl", "az", "azure", "file", "gs", "memory", "s3", "s3a")
# Azure takes names that are identifiers only.
_SHA256 = "tenuto_sha256"
_LENGTH = "tenuto_length"
_BOTO3_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "endpoint_url": "endpoint",
    "region_name": "region",
}


class Bucket:
    """
    A bucket, or what is like one, that is opened at first use.

    Args:
        name: for error messages, such as `s3://bucket`.
        make: returns the obstore store; called with `arguments`, once in each process.
        arguments: of `make`.
    """

    def __init__(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        self.name = name
        self._make = make
        self._arguments = arguments
        self._store: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bucket):
            return NotImplemented
        return (self.name, self._make, self._arguments) == (other.name, other._make, other._arguments)

    __hash__ = None  # type: ignore[assignment]  # compared by content: not to be used as a key

    def location(self, key: str) -> str:
        """Return the key with the bucket before it, for people."""
        return f"{self.name.rstrip('/')}/{key.lstrip('/')}"

    def put(self, key: str, data: bytes | bytearray, *, overwrite: bool = True) -> Checksum:
        """
        Store an object, complete or not at all; return its checksum.

        Raises:
            FileExistsError: if there is one and `overwrite` is off; the store itself decides, so that of two
                writers one wins.
            ObjectStoreError: for anything else that goes wrong.
        """
        checksum = checksum_of(data)
        facts: dict[str, str] | None = {_SHA256: checksum.sha256, _LENGTH: str(checksum.length)}
        if not self._keeps_facts():
            facts = None
        self._call(key, "put", data, attributes=facts, mode="overwrite" if overwrite else "create")
        return checksum

    def get(self, key: str) -> tuple[bytes, Checksum]:
        """
        Return an object's bytes, and their checksum.

        Raises:
            FileNotFoundError: if there is no such object.
            ResultCorrupt: if the bytes are not those that `put` stored. Objects of other origin say nothing
                of theirs and are read as they are.
            ObjectStoreError: for anything else that goes wrong.
        """
        answer = self._call(key, "get")
        facts = dict(answer.attributes)
        data = self._guarded(key, lambda: bytes(answer.bytes()))
        found = checksum_of(data)
        length = facts.get(_LENGTH, str(found.length))
        written = Checksum(facts.get(_SHA256, found.sha256), int(length) if length.isdecimal() else -1)
        damage = written.damage(found)
        if damage is not None:
            raise ResultCorrupt(self.location(key), damage)
        return data, found

    def exists(self, key: str) -> bool:
        """
        Say whether there is such an object.

        Raises:
            ObjectStoreError: if that cannot be found out, a missing bucket included.
        """
        try:
            # Not `head`: its answers have no body, so that a missing bucket would look like a missing object.
            self._call(key, "get")
        except FileNotFoundError:
            return False
        return True

    def copy(self, key: str, to_key: str) -> None:
        """
        Give the bucket a second object with the content of one; the store itself does it.

        Raises:
            FileNotFoundError: if there is no such object.
            ObjectStoreError: for anything else that goes wrong.
        """
        self._call(key, "copy", to_key)

    def keys(self, prefix: str) -> list[str]:
        """
        Return the keys of all objects below a prefix.

        Raises:
            ObjectStoreError: if that cannot be found out.
        """
        store = self._opened()
        found = self._guarded(prefix, lambda: [item for part in store.list(prefix) for item in part])
        return [item["path"] for item in found]

    def delete(self, keys: Sequence[str]) -> None:
        """
        Remove objects; those that are not there are no fault.

        Raises:
            ObjectStoreError: if one cannot be removed.
        """
        store = self._opened()
        if keys:
            self._guarded(keys[0], lambda: store.delete(list(keys)))

    def _keeps_facts(self) -> bool:
        return type(self._opened()).__name__ != "LocalStore"

    def _opened(self) -> Any:
        if self._store is None:
            self._store = self._make(*self._arguments)
        return self._store

    def _call(self, key: str, method: str, *args: Any, **kwargs: Any) -> Any:
        if not key.strip("/"):
            raise ValueError(f"{key!r} names no object in {self.name}. Give a location.")
        # Opened outside: what is missing there (a library, a secret) is no fault of the key.
        store = self._opened()
        return self._guarded(key, lambda: getattr(store, method)(key, *args, **kwargs))

    def _guarded(self, key: str, act: Callable[[], Any]) -> Any:
        from obstore.exceptions import AlreadyExistsError, BaseError

        try:
            return act()
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                raise ObjectStoreError(self.location(key), "there is no such bucket") from error
            raise FileNotFoundError(f"There is no object {self.location(key)!r}.") from None
        except AlreadyExistsError as error:
            raise FileExistsError(f"There is an object {self.location(key)!r} already.") from error
        except ValueError as error:
            raise ValueError(f"The key {key!r} cannot be used in {self.name}: {_first_line(error)}") from None
        except (BaseError, OSError, NotImplementedError) as error:
            raise ObjectStoreError(self.location(key), _problem(error)) from error


def open_s3(bucket: str, boto3_kwargs: Mapping[str, Any] | None = None) -> Bucket:
    """
    Return a bucket of S3, or of a service that speaks its protocol.

    Credentials are the first of: `boto3_kwargs`, the secret `AWS_CREDENTIALS`, boto3's session where boto3 is
    installed (profiles, SSO), the environment.

    Raises:
        ValueError: for boto3 keywords that have no translation.
    """
    translate_boto3_kwargs(boto3_kwargs or {})
    return Bucket(f"s3://{bucket}", _make_s3, bucket, dict(boto3_kwargs or {}))


def open_gcs(bucket: str) -> Bucket:
    """Return a bucket of Google Cloud Storage; keys: secret `GCP_CREDENTIALS`, else the environment."""
    return Bucket(f"gs://{bucket}", _make_gcs, bucket)


def open_azure(container: str, connection_string: Callable[[], str]) -> Bucket:
    """Return a container of Azure's Blob Storage; `connection_string` is called when it is opened."""
    return Bucket(f"az://{container}", _make_azure, container, connection_string)


def check_url(url: str) -> None:
    """
    Refuse what `open_url` cannot open.

    Raises:
        ValueError: for a URL of another scheme, or one that holds a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(
            f"{scheme!r} is no known scheme of a URL. Known are {', '.join(_SCHEMES)}: "
            "write s3://bucket/prefix, for example."
        )
    if "@" in rest.partition("/")[0] and ":" in rest.partition("@")[0]:
        raise ValueError("The URL holds a password. Give credentials as secrets or in the environment.")


def open_url(url: str, options: Mapping[str, Any] | None = None) -> Bucket:
    """Return what a URL names; `options` are those of obstore's store of that scheme."""
    return Bucket(url, _make_url, url, dict(options or {}))


def translate_boto3_kwargs(boto3_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the options of obstore that boto3's client keywords stand for.

    Raises:
        ValueError: for a keyword that has no translation.
    """
    known = {*_BOTO3_NAMES, "use_ssl", "verify", "profile_name", "service_name"}
    for name in boto3_kwargs:
        if name not in known:
            raise ValueError(
                f"boto3_kwargs has {name!r}, which has no equal here. Known are {', '.join(sorted(known))}."
            )
    verify = boto3_kwargs.get("verify")
    if isinstance(verify, str):
        raise ValueError(
            f"boto3_kwargs has verify={verify!r}: a certificate file cannot be given here. "
            "Set SSL_CERT_FILE in the environment instead."
        )
    return {
        _BOTO3_NAMES[name]: value
        for name, value in boto3_kwargs.items()
        if name in _BOTO3_NAMES and value is not None
    }


def _make_s3(bucket: str, boto3_kwargs: Mapping[str, Any]) -> Any:
    store = _stores("s3")
    config = {**_aws_credentials(boto3_kwargs), **translate_boto3_kwargs(boto3_kwargs)}
    options = _connection(_aws_endpoint(config))
    if boto3_kwargs.get("verify") is False:
        options["allow_invalid_certificates"] = True
    return store.S3Store(bucket, config=config, client_options=options, retry_config=_retries())


def _aws_endpoint(config: dict[str, Any]) -> str | None:
    """Return the endpoint, taken into `config` from the environment as boto3 takes it."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if "endpoint" not in config and os.environ.get(name):
            config["endpoint"] = os.environ[name]
    return config.get("endpoint")


def _aws_credentials(boto3_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if boto3_kwargs.get("aws_access_key_id"):
        return {}
    secret = _secret("AWS_CREDENTIALS")
    if secret is not None and not boto3_kwargs.get("profile_name"):
        try:
            found = {"access_key_id": secret["ACCESS_KEY"], "secret_access_key": secret["SECRET_ACCESS_KEY"]}
        except (KeyError, TypeError):
            raise ValueError(
                "The secret AWS_CREDENTIALS must have ACCESS_KEY and SECRET_ACCESS_KEY."
            ) from None
        if secret.get("SESSION_TOKEN"):
            found["session_token"] = secret["SESSION_TOKEN"]
        return found
    try:
        import boto3
    except ImportError:
        if boto3_kwargs.get("profile_name"):
            raise ImportError("AWS profiles need boto3. Install it with: pip install boto3") from None
        return {}
    session = boto3.Session(profile_name=boto3_kwargs.get("profile_name"))
    credentials = session.get_credentials()
    found = {"region": session.region_name} if session.region_name else {}
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        found |= {"access_key_id": frozen.access_key, "secret_access_key": frozen.secret_key}
        if frozen.token:
            found["session_token"] = frozen.token
    return found


def _make_gcs(bucket: str) -> Any:
    store = _stores("gcs")
    secret = _secret("GCP_CREDENTIALS")
    config = {} if secret is None else {"service_account_key": json.dumps(dict(secret))}
    return store.GCSStore(bucket, config=config, client_options=_connection(), retry_config=_retries())


def _make_azure(container: str, connection_string: Callable[[], str]) -> Any:
    store = _stores("azure")
    config = _azure_config(connection_string())
    return store.AzureStore(
        container,
        config=config,
        client_options=_connection(config.get("endpoint")),
        retry_config=_retries(),
    )


def _azure_config(connection_string: str) -> dict[str, Any]:
    register_secret(connection_string)
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    named = {name.lower(): value for name, value in parts.items()}
    try:
        config = {"account_name": named["accountname"]}
    except KeyError:
        raise ValueError("The connection string of Azure's storage names no AccountName.") from None
    if "accountkey" in named:
        config["account_key"] = named["accountkey"]
        try:
            base64.b64decode(named["accountkey"], validate=True)
        except ValueError:
            raise ValueError("The AccountKey of Azure's connection string is not base64.") from None
    if "sharedaccesssignature" in named:
        config["sas_key"] = named["sharedaccesssignature"]
    if "blobendpoint" in named:
        config["endpoint"] = named["blobendpoint"]
    return config


def _make_url(url: str, options: Mapping[str, Any]) -> Any:
    scheme = url.partition("://")[0]
    if scheme in ("file", "memory"):
        extra = {"mkdir": True} if scheme == "file" else {}
        return _stores("s3").from_url(url, **{**extra, **options})
    store = _stores({"gs": "gcs", "s3": "s3", "s3a": "s3"}.get(scheme, "azure"))
    config = dict(options)
    if scheme in ("s3", "s3a") and "access_key_id" not in config:
        config = {**_aws_credentials({}), **config}
    elif scheme == "gs" and "service_account_key" not in config:
        secret = _secret("GCP_CREDENTIALS")
        if secret is not None:
            config["service_account_key"] = json.dumps(dict(secret))
    endpoint = _aws_endpoint(config) if scheme in ("s3", "s3a") else config.get("endpoint")
    client = _connection(endpoint)
    return store.from_url(url, config=config, client_options=client, retry_config=_retries())


def _secret(name: str) -> Any:
    value = (context.get("secrets") or {}).get(name)
    if value is not None:
        register_secret(value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"The secret {name} is no JSON object.") from None
        register_secret(value)
    return value


def _connection(endpoint: str | None = None) -> dict[str, Any]:
    options: dict[str, Any] = {"timeout": TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
    if endpoint is not None and endpoint.startswith("http://"):
        options["allow_http"] = True
    return options


def _retries() -> dict[str, Any]:
    return {"max_retries": RETRIES_MAX, "retry_timeout": RETRY_TIMEOUT}


def _stores(extra: str) -> Any:
    try:
        import obstore.store
    except ImportError as error:
        raise ImportError(
            f"Object stores need obstore. Install it with: pip install 'tenuto[{extra}]'"
        ) from error
    return obstore.store


def _problem(error: BaseException) -> str:
    kind = type(error).__name__
    if kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return f"the store refuses the credentials ({_first_line(error)})"
    return f"{_first_line(error)} ({kind})"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [import_path(type(error))]
    return lines[0].rstrip(".")
