"""The context: dictionary and attribute access, layers, threads, asyncio tasks."""

import asyncio
import contextvars
import pickle
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

import tenuto
from tenuto._base.context import Context, context
from tenuto._base.logging import get_logger
from tenuto.configuration import config


def in_new_thread(fn: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(fn()))
    thread.start()
    thread.join()
    return answers[0]


def test_values_are_items_and_attributes() -> None:
    # R-CTX-1
    with context(a=1):
        assert context.a == context["a"] == context.get("a") == 1
        assert "a" in context
        assert context.get("b") is None
        assert context.get("b", 2) == 2
        assert dict(context.items())["a"] == 1
        assert "a" in context.keys()  # noqa: SIM118  # the method itself is promised
        with pytest.raises(AttributeError, match="'b'"):
            _ = context.b
        with pytest.raises(KeyError):
            _ = context["b"]


def test_content_can_be_changed_in_place() -> None:
    # R-REAL-20
    with context():
        context.setdefault("secrets", {})
        context.secrets["X"] = 1
        context.a = 1
        context["b"] = 2
        context.update(c=3)
        assert context.pop("b") == 2
        del context.a
        assert context.secrets == {"X": 1}
        assert context.c == 3
        assert "a" not in context
        with pytest.raises(AttributeError):
            del context.a
        with pytest.raises(ValueError, match="update"):
            context.update = 3  # type: ignore[method-assign,assignment]  # a mistake that must not pass
    assert "c" not in context


def test_leaving_a_block_restores_everything() -> None:
    # R-CTX-2
    with context({"a": 1}, b=1):
        with context({"a": 2}, c=3) as inside:
            assert inside is context
            context.b = 5
            assert (context.a, context.b, context.c) == (2, 5, 3)
        assert (context.a, context.b, context.get("c")) == (1, 1, None)
        with pytest.raises(RuntimeError), context(a=9):
            raise RuntimeError
        assert context.a == 1
    assert "a" not in context


def test_block_can_be_used_twice_and_as_decorator() -> None:
    # R-CTX-2
    block = context(a=1)
    with block, block:
        assert context.a == 1
    assert "a" not in context

    @context(a=2)
    def read() -> Any:
        return context.a

    assert read() == read() == 2


def test_config_in_a_block_is_merged() -> None:
    # R-CTX-2
    before = config.flows.checkpointing
    with context(config={"flows": {"checkpointing": "yes"}, "own": 1}):
        assert context.config.flows.checkpointing == "yes"
        assert context.config.own == 1
        assert context.config.logging.level == config.logging.level
        assert config.flows.checkpointing is before
    assert context.config is config
    assert "own" not in config


def test_new_thread_sees_only_config() -> None:
    # R-CTX-1
    with context(a=1):
        keys = in_new_thread(lambda: set(context))
    assert keys == {"config", *config.get("context", {})} - {"secrets"}


def test_threads_have_separate_contents() -> None:
    # R-CTX-1
    def change() -> Any:
        context.a = 2
        with context(b=3):
            return context.a, context.b

    with context(a=1):
        assert in_new_thread(change) == (2, 3)
        assert context.a == 1
        assert "b" not in context


def test_copied_context_variables_carry_the_content_to_a_thread() -> None:
    # R-CTX-1, recommendation
    with context(a=1):
        copied = contextvars.copy_context()
        assert in_new_thread(lambda: copied.run(lambda: context.get("a"))) == 1


def test_asyncio_tasks_keep_their_own_layers() -> None:
    async def work(value: int) -> int:
        with context(a=value):
            await asyncio.sleep(0)
            return int(context.a)

    async def both() -> list[int]:
        return list(await asyncio.gather(work(1), work(2)))

    assert asyncio.run(both()) == [1, 2]


def test_context_cannot_be_pickled_but_reached_by_the_package() -> None:
    # R-CTX-1
    with pytest.raises(TypeError, match=r"tenuto\.context"):
        pickle.dumps(context)

    def reads() -> Any:
        return tenuto.context.get("a")

    with context(a=5):
        assert cloudpickle.loads(cloudpickle.dumps(reads))() == 5


def test_engine_layer_is_exactly_the_given_dictionary() -> None:
    values = {"a": 1}
    with context(b=2):
        token = context.enter(values)
        try:
            assert context.current() is values
            assert dict(context) == {"a": 1}
            context.c = 3
        finally:
            context.leave(token)
        assert values == {"a": 1, "c": 3}
        assert (context.b, context.get("c")) == (2, None)


def test_main_thread_has_config_and_logger_outside_of_runs() -> None:
    # R-CTX-6, R-LOG-5
    bottom = Context()
    assert set(bottom) == {"config", "logger", *config.get("context", {})} - {"secrets"}
    assert bottom.logger is get_logger()
    assert context.get("logger") is get_logger()


def test_context_section_of_the_configuration_is_copied_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    # spec 07, "context.*"; R-SEC-1
    monkeypatch.setitem(config, "context", {"own": 1, "secrets": {"X": "canary"}})
    fresh = Context()
    assert fresh.own == 1
    assert fresh.secrets == {"X": "canary"}
    fresh.secrets["Y"] = 2
    assert "Y" not in config.context.secrets
    assert in_new_thread(lambda: fresh.secrets.X) == "canary"


def test_secrets_are_not_shown() -> None:
    with context(secrets={"X": "canary"}, a=1):
        assert "canary" not in repr(context)
        assert "'a': 1" in repr(context)


def test_context_can_be_made_with_values() -> None:
    own = Context({"a": 1}, b=2)
    assert (own.a, own.b) == (1, 2)
    assert "a" not in context
    assert own.copy().a == 1
    assert own.to_dict()["b"] == 2
    assert len(own) >= 3
    assert "a" in dir(own)
