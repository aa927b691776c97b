"""Results that are stored nowhere: in the state, in the flow, in a vault."""

import pickle
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tenuto.core.task import Task
from tenuto.engine import results
from tenuto.engine.results import ConstantResult, PrefectResult, SecretResult
from tenuto.engine.serializers import DateTimeSerializer, JSONSerializer, PickleSerializer


class Vault(Task):
    def __init__(self, **kwargs: Any) -> None:
        self.asked: list[str | None] = []
        super().__init__(**kwargs)

    def run(self, name: str | None = None) -> str:
        self.asked.append(name)
        return f"secret {name}"


# R-CLOUD-4
def test_the_location_of_a_prefect_result_is_its_value() -> None:
    written = PrefectResult().write({"a": 1})
    assert (written.value, written.location) == ({"a": 1}, '{"a": 1}')
    assert PrefectResult().read('{"a": 1}').value == {"a": 1}
    assert PrefectResult(value=5).write(6, x="ignored").location == "6"


# R-CLOUD-4
@pytest.mark.parametrize("value", [np.arange(2), {1, 2}, object(), b"x"], ids=repr)
def test_a_value_that_json_cannot_represent_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        PrefectResult().write(value)


def test_a_prefect_result_exists_when_it_can_be_read() -> None:
    assert PrefectResult().exists("[1, 2]")
    assert PrefectResult().exists('{"a": 1}', a=5)
    assert not PrefectResult().exists("{oops")
    assert not PrefectResult().exists("")
    with pytest.raises(ValueError, match=r"oops|Expecting"):
        PrefectResult().read("{oops")


def test_a_prefect_result_takes_serializers_of_text_only() -> None:
    message = r"^PrefectResult only supports JSONSerializer or DateTimeSerializer$"
    with pytest.raises(TypeError, match=message):
        PrefectResult(serializer=PickleSerializer())
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    result = PrefectResult(serializer=DateTimeSerializer())
    assert result.write(moment).location == "2020-01-01T00:00:00Z"
    assert result.read("2020-01-01T00:00:00Z").value == moment
    assert PrefectResult(serializer=None).serializer == JSONSerializer()


def test_a_constant_result_is_its_value() -> None:
    result = ConstantResult(value=[1])
    assert result.read("anywhere") is result
    assert result.exists("anywhere")
    assert result.exists("anywhere", a=1)
    with pytest.raises(ValueError, match="cannot be written"):
        result.write([2])
    with pytest.raises(ValueError, match="takes no serializer"):
        ConstantResult(serializer=JSONSerializer())


def test_a_secret_result_asks_for_its_secret_again() -> None:
    vault = Vault(name="TOKEN")
    result = SecretResult(vault)
    assert result.location == "TOKEN"
    read = result.read("OTHER")
    assert (read.value, read.location, result.value) == ("secret OTHER", "OTHER", None)
    assert result.read("TOKEN").value == "secret None"
    assert vault.asked == ["OTHER", None]
    assert result.exists("TOKEN")


def test_a_secret_result_is_never_written_and_never_shown() -> None:
    result = SecretResult(Vault(name="TOKEN"))
    with pytest.raises(ValueError, match="never written"):
        result.write("hunter2")
    with pytest.raises(ValueError, match="takes no serializer"):
        SecretResult(Vault(name="TOKEN"), serializer=JSONSerializer())
    assert "hunter2" not in repr(result.from_value("hunter2"))


@pytest.mark.parametrize("result", [PrefectResult(value=1), ConstantResult(value=1)], ids=repr)
def test_such_results_pickle(result: Any) -> None:
    assert pickle.loads(pickle.dumps(result)) == result


def test_the_old_and_the_new_name_are_one_class() -> None:
    assert results.TenutoResult is PrefectResult
