"""Tasks that fetch secrets."""

from collections.abc import Iterator
from typing import Any

import pytest

import tenuto
from tenuto import Flow, Task
from tenuto._base import masking
from tenuto.engine.result import Result
from tenuto.engine.results import SecretResult
from tenuto.tasks.secrets import EnvVarSecret, PrefectSecret, SecretBase, TenutoSecret


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    masking.forget_secrets()
    yield
    masking.forget_secrets()


@pytest.mark.parametrize("cls", [SecretBase, PrefectSecret, EnvVarSecret])
def test_secret_tasks_are_never_persisted(cls: type[SecretBase]) -> None:
    # R-SEC-5
    task = cls(name="X")
    assert isinstance(task, Task)
    assert task.name == "X"
    assert task.checkpoint is False
    assert task.is_secret
    assert isinstance(task.result, SecretResult)
    with pytest.raises(ValueError, match=r"^Result types for Secrets are not configurable\.$"):
        cls(name="X", result=Result())


def test_options_of_tasks_are_passed_on() -> None:
    task = PrefectSecret("X", tags=["a"], checkpoint=True)
    assert task.tags == {"a"}
    assert task.checkpoint is False


def test_secret_is_read_by_the_name_given_first_at_run_time() -> None:
    # R-SEC-5
    with tenuto.context(secrets={"X": "of x", "Y": "of y"}):
        assert PrefectSecret("X").run() == "of x"
        assert PrefectSecret("X").run(name="Y") == "of y"
        assert PrefectSecret().run(name="Y") == "of y"
        with pytest.raises(ValueError, match=r"^A secret name must be provided\.$"):
            PrefectSecret().run()


def test_name_may_come_from_an_upstream_task() -> None:
    # R-SEC-5
    class Name(Task):
        def run(self) -> str:
            return "X"

    with Flow("f") as flow:
        secret = PrefectSecret()(Name())
    assert {edge.key for edge in flow.edges_to(secret)} == {"name"}


def test_unnamed_tasks_are_named_after_their_class() -> None:
    assert (PrefectSecret().name, EnvVarSecret().name) == ("PrefectSecret", "EnvVarSecret")


def test_both_families_of_names_are_one_class() -> None:
    assert TenutoSecret is PrefectSecret


def test_own_secret_tasks_override_run() -> None:
    class Vault(SecretBase):
        def run(self, name: str | None = None) -> Any:
            return f"vault:{name}"

    assert Vault(name="v").run("k") == "vault:k"
    assert Vault().checkpoint is False


def test_environment_variable_is_read_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # R-SEC-6
    monkeypatch.setenv("MY_VARIABLE", "12345")
    monkeypatch.delenv("MY_ABSENT", raising=False)
    assert EnvVarSecret("MY_VARIABLE").run() == "12345"
    assert EnvVarSecret("MY_VARIABLE", cast=int).run() == 12345
    assert EnvVarSecret().run(name="MY_VARIABLE") == "12345"
    assert EnvVarSecret("MY_ABSENT", cast=int).run() is None
    with pytest.raises(ValueError, match=r"^Environment variable not set: MY_ABSENT$"):
        EnvVarSecret("MY_ABSENT", raise_if_missing=True).run()
    with pytest.raises(ValueError, match=r"^A secret name must be provided\.$"):
        EnvVarSecret().run()


def test_values_are_hidden_in_logs_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # S-18 (reliability 5)
    monkeypatch.setenv("MY_VARIABLE", "canary-value")
    EnvVarSecret("MY_VARIABLE").run()
    assert masking.mask("canary-value") == "****"
