"""Storage that needs no service, and all of it as data."""

import json
import socket
import sys
from pathlib import Path

import cloudpickle
import pytest

from tenuto import Flow
from tenuto.exceptions import FlowStorageError
from tenuto.storage import (
    GCS,
    S3,
    Azure,
    Bitbucket,
    CodeCommit,
    Docker,
    Git,
    GitHub,
    GitLab,
    Local,
    Module,
    Storage,
    Webhook,
    get_default_storage_class,
)
from tenuto.utilities.configuration import set_temporary_config

SCRIPT = "from tenuto import Flow\nflow = Flow('one')\nother = Flow('two')\n"

ALL = [
    Local(directory="flows", labels=["a"], secrets=["S"]),
    Module("some.module"),
    Git("flow.py", repo="org/repo", tag="v1", git_token_secret_name="T"),
    GitHub("org/repo", "flow.py", ref="main", access_token_secret="T"),
    GitLab("org/repo", path="flow.py"),
    Bitbucket("P", "repo", workspace="w", path="flow.py"),
    S3("bucket", key="k", stored_as_script=True),
    GCS("bucket", project="p"),
    Azure("container", connection_string_secret="C", overwrite=True),
    Docker(registry_url="r", python_dependencies=["pandas"], stored_as_script=True),
    CodeCommit("repo", path="flow.py"),
    Webhook({"url": "u"}, "POST", {"url": "v"}, "GET"),
]


# R-BE-174
@pytest.mark.parametrize("storage", ALL, ids=lambda storage: storage.name)
def test_storage_goes_through_json_unchanged(storage: Storage) -> None:
    storage.flows = {"one": "place"}
    described = json.loads(json.dumps(storage.serialize()))
    assert (described["type"], described["flows"]) == (storage.name, {"one": "place"})
    restored = Storage.deserialize(described)
    assert type(restored) is type(storage)
    assert restored.serialize() == storage.serialize()
    assert "one" in restored


def test_keys_of_a_client_are_not_written_down() -> None:
    storage = S3("b", client_options={"aws_secret_access_key": "hush", "region_name": "r"})
    assert "hush" not in json.dumps(storage.serialize())
    assert storage.serialize()["client_options"] == {"region_name": "r"}


def test_a_pickled_flow_is_stored_and_found(tmp_path: Path) -> None:
    storage = Local(directory=tmp_path)
    flow = Flow("My flow!", storage=storage)
    location = storage.add_flow(flow)
    assert Path(location).parent == tmp_path / "my-flow"
    storage.build()
    restored = Storage.deserialize(json.loads(json.dumps(storage.serialize())))
    assert restored.get_flow("My flow!").name == "My flow!"
    assert cloudpickle.loads(cloudpickle.dumps(storage)).get_flow("My flow!").name == "My flow!"


def test_a_script_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "flow.py"
    path.write_text(SCRIPT)
    storage = Local(path=path, stored_as_script=True)
    assert storage.add_flow(Flow("two")) == str(path)
    assert storage.build().get_flow("two").name == "two"
    path.write_text(SCRIPT.replace("two", "three"))
    with pytest.raises(FlowStorageError, match="no flow 'two'.*'one', 'three'"):
        storage.get_flow("two")


@pytest.mark.parametrize("content", [b"", b"no pickle", cloudpickle.dumps(5)])
def test_what_holds_no_flow_is_named(tmp_path: Path, content: bytes) -> None:
    storage = Local(directory=tmp_path)
    location = storage.add_flow(Flow("one"))
    storage.build()
    Path(location).write_bytes(content)
    with pytest.raises(FlowStorageError, match="my-flow|one"):
        storage.get_flow("one")
    Path(location).unlink()
    with pytest.raises(FlowStorageError, match="cannot be read"):
        storage.get_flow("one")


def test_a_module_has_its_flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stored_flows_here.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    storage = Module("stored_flows_here")
    storage.add_flow(Flow("two"))
    assert storage.build().get_flow("two").name == "two"
    monkeypatch.delitem(sys.modules, "stored_flows_here")
    missing = Module("no_such_module_here")
    missing.add_flow(Flow("two"))
    with pytest.raises(FlowStorageError, match="cannot be imported"):
        missing.get_flow("two")


# R-BE-27
def test_local_storage_adds_the_name_of_this_machine(tmp_path: Path) -> None:
    assert Local(directory=tmp_path, labels=["a"]).labels == ["a", socket.gethostname()]
    assert Local(directory=tmp_path, add_default_labels=False).labels == []
    assert Module("m").labels == []


def test_a_flow_is_added_once_and_unknown_ones_are_named(tmp_path: Path) -> None:
    storage = Local(directory=tmp_path)
    storage.add_flow(Flow("one"))
    with pytest.raises(ValueError, match="already"):
        storage.add_flow(Flow("one"))
    with pytest.raises(FlowStorageError, match="no flow named 'two'"):
        storage.get_flow("two")
    with pytest.raises(FlowStorageError, match="data only"):
        Docker().add_flow(Flow("one"))


def test_git_takes_one_place_and_one_ref() -> None:
    with pytest.raises(ValueError, match="either"):
        Git("flow.py")
    with pytest.raises(ValueError, match="one of"):
        Git("flow.py", repo="a/b", tag="v1", branch_name="main")


def test_the_default_class_is_a_setting() -> None:
    assert get_default_storage_class() is Local
    with set_temporary_config({"flows.defaults.storage.default_class": "tenuto.storage.s3.S3"}):
        assert get_default_storage_class() is S3
    with set_temporary_config({"flows.defaults.storage.default_class": "no.such.Class"}):
        with pytest.warns(UserWarning, match="Could not import"):
            assert get_default_storage_class() is Local
