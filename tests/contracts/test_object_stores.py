"""Object stores that fail, and objects that are not what was written: one clear error each."""

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import cloudpickle
import pytest

import tenuto
from tenuto import Flow
from tenuto._base import object_store
from tenuto.engine.results import AzureResult, GCSResult, S3Result, URLResult
from tenuto.engine.state import State, Success
from tenuto.exceptions import FlowStorageError, ObjectStoreError, ResultCorrupt
from tenuto.storage import S3, Storage
from tests.fakes.object_stores import KEYS, broken_endpoint


@pytest.fixture
def client(s3_environment: str) -> Any:
    made = boto3.client("s3", endpoint_url=s3_environment, **KEYS)
    yield made
    made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "TIMEOUT", timedelta(milliseconds=200))
    monkeypatch.setattr(object_store, "RETRIES_MAX", 1)


# R-CLOUD-1
def test_clients_are_made_at_first_use_and_not_pickled(s3_environment: str) -> None:
    result = S3Result("results")
    assert not vars(result).get("_opened")
    result.write(1)
    assert vars(result)["_opened"]
    assert cloudpickle.loads(cloudpickle.dumps(result))._opened is None


# R-CLOUD-2
def test_bytes_that_end_too_early_are_none_and_other_errors_are_logged(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client.put_object(Bucket="results", Key="empty", Body=b"")
    assert S3Result("results").read("empty").value is None
    client.put_object(Bucket="results", Key="bad", Body=b"\x80\x04bad")
    with pytest.raises(pickle.UnpicklingError):
        S3Result("results").read("bad")
    assert "Unexpected error while reading from result handler" in caplog.text


# R-CLOUD-3
def test_only_a_missing_object_does_not_exist(s3_environment: str) -> None:
    assert not S3Result("results").exists("nothing")
    missing = S3Result("no-such-bucket")
    for act in (missing.exists, missing.read, missing.write):
        with pytest.raises(ObjectStoreError, match="s3://no-such-bucket/"):
            act("a")


@pytest.mark.parametrize("cut", [True, False])
def test_damaged_objects_are_recognised(client: Any, cut: bool) -> None:
    S3Result("results", location="damaged").write([1, 2, 3])
    found = client.get_object(Bucket="results", Key="damaged")
    data = found["Body"].read()
    damaged = data[:-2] if cut else data[:-2] + b"xx"
    client.put_object(Bucket="results", Key="damaged", Body=damaged, Metadata=found["Metadata"])
    with pytest.raises(ResultCorrupt, match="bytes instead of" if cut else "not what was written"):
        S3Result("results").read("damaged")


@pytest.mark.parametrize("key", ["ünï/日本.x", "a b?c#d%20e", "{'x'}&y=1", "x" * 900])
def test_odd_keys_are_keys(s3_environment: str, key: str) -> None:
    location = key.replace("{", "{{").replace("}", "}}")
    written = S3Result("results", location=location).write(7)
    assert written.location == key
    assert S3Result("results").read(key).value == 7


@pytest.mark.parametrize("key", ["../up", "a/../../b", "", "/", "a//b"])
def test_keys_that_are_none_are_refused(s3_environment: str, key: str) -> None:
    with pytest.raises(ValueError, match="cannot be used|names no object"):
        S3Result("results").read(key)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", None])
@pytest.mark.usefixtures("impatient")
def test_broken_connections_end_in_an_error(answer: bytes | None) -> None:
    with broken_endpoint(answer) as url:
        result = S3Result("results", boto3_kwargs={"endpoint_url": url, **KEYS})
        with pytest.raises(ObjectStoreError, match="s3://results/key"):
            result.read("key")


def test_refused_credentials_are_called_so() -> None:
    body = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
    answer = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with broken_endpoint(answer) as url:
        result = S3Result("results", boto3_kwargs={"endpoint_url": url, **KEYS})
        with pytest.raises(ObjectStoreError, match="refuses the credentials") as raised:
            result.exists("key")
        assert KEYS["aws_secret_access_key"] not in str(raised.value)


def test_states_know_the_bucket(s3_environment: str) -> None:
    described = Success(result=S3Result("other").write(5)).serialize()
    assert State.deserialize(described).load_result().result == 5


# R-SEC-7
def test_the_secret_gives_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"ACCESS_KEY": "A", "SECRET_ACCESS_KEY": "B", "SESSION_TOKEN": "C"}
    expected = {"access_key_id": "A", "secret_access_key": "B", "session_token": "C"}
    with tenuto.context(secrets={"AWS_CREDENTIALS": keys}):
        assert object_store._aws_credentials({}) == expected
    with tenuto.context(secrets={"AWS_CREDENTIALS": {"ACCESS_KEY": "A"}}):
        with pytest.raises(ValueError, match="must have ACCESS_KEY"):
            S3Result("results").read("a")


def test_options_without_an_equal_are_refused() -> None:
    with pytest.raises(ValueError, match="'config', which has no equal"):
        S3Result("results", boto3_kwargs={"config": 1})
    with pytest.raises(ValueError, match="'ACL', which has no equal"):
        S3Result("results", upload_options={"ACL": "private"})
    with pytest.raises(ValueError, match="'ftp' is no known scheme"):
        URLResult("ftp://host/x")
    with pytest.raises(ValueError, match="holds a password"):
        URLResult("s3://user:word@bucket/x")


def test_results_that_miss_their_place_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    with pytest.raises(ValueError, match="no connection string"):
        AzureResult("container").read("a")
    with pytest.raises(ValueError, match="has no bucket"):
        GCSResult().read("a")


def test_a_missing_library_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(ImportError, match=r"pip install 'tenuto\[s3\]'"):
        S3Result("results", boto3_kwargs=dict(KEYS)).read("a")


def test_files_have_a_url_too(tmp_path: Path) -> None:
    result = URLResult(f"file://{tmp_path}/sub", location="a/b")
    assert result.read(str(result.write([1]).location)).value == [1]
    assert (tmp_path / "sub" / "a" / "b").is_file()


def test_flows_are_kept_in_a_bucket(s3_environment: str, tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text("from tenuto import Flow\nflow = Flow('one')\n")
    for storage in (
        S3("other"),
        S3("other", key="k.py", stored_as_script=True, local_script_path=str(script)),
    ):
        storage.add_flow(Flow("one"))
        storage.build()
        assert Storage.deserialize(storage.serialize()).get_flow("one").name == "one"
    storage.flows["one"] = "gone"
    with pytest.raises(FlowStorageError, match="no object 's3://other/gone'"):
        storage.get_flow("one")
