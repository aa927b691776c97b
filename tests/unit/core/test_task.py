"""Tasks: what they are made of, and what may be asked of them."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, Tuple  # noqa: UP035  # the older spelling has to work too

import pytest

from tenuto import Flow, Parameter, Task, tags, task
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.function import FunctionTask


class Fetched(NamedTuple):
    """Known here only by its name in annotations that are texts."""

    page: int


@task
def add(x: Any, y: Any = 1) -> Any:
    """Add two values."""
    return x + y


# R-TASK-1
def test_decorated_function_keeps_name_text_and_plain_run() -> None:
    assert isinstance(add, FunctionTask)
    assert add.__name__ == "add"  # type: ignore[attr-defined]  # set on the instance
    assert add.__doc__ == "Add two values."
    assert add.__wrapped__ is add.run  # type: ignore[attr-defined]  # set on the instance
    assert add.run(2, y=3) == 5


# R-TASK-1
def test_decorator_takes_options_and_may_be_called_on_a_function() -> None:
    @task(name="fetch page", tags=["io"])
    def fetch() -> None: ...

    assert (fetch.name, fetch.tags) == ("fetch page", {"io"})
    assert task(lambda x: x, name="same").name == "same"
    assert task()(lambda x: x).name == "<lambda>"
    assert FunctionTask(add.run, "renamed").name == "renamed"


# R-TASK-2
def test_run_with_positional_variadics_is_refused_by_the_decorator_and_by_the_class_body() -> None:
    with pytest.raises(ValueError, match=r"variable positional arguments.*\*\*kwargs"):

        @task
        def spread(*args: int) -> None: ...

    with pytest.raises(ValueError, match=r"variable positional arguments.*\*\*kwargs"):

        class Spread(Task):
            def run(self, *args: int) -> None: ...


# R-TASK-3
def test_reserved_argument_names_are_refused_together_in_one_text() -> None:
    with pytest.raises(ValueError, match="argument names") as refused:

        @task
        def clash(x: int, flow: Any, mapped: bool) -> None: ...

    assert str(refused.value) == (
        "Tasks cannot have the following argument names: mapped, flow. These are reserved keyword arguments."
    )
    with pytest.raises(ValueError, match=r"argument names: upstream_tasks\. These are reserved"):

        class Clash(Task):
            def run(self, *, upstream_tasks: Any) -> None: ...


# R-TASK-4
def test_positional_only_arguments_are_refused_when_the_task_is_constructed() -> None:
    class Strict(Task):
        def run(self, x: int, y: int, /) -> None: ...

    with pytest.raises(TypeError, match=r"'Strict'.*positional-only.*x, y"):
        Strict()
    with pytest.raises(TypeError, match=r"'half'.*positional-only.*: x"):

        @task
        def half(x: int, /, y: int) -> None: ...


# R-TASK-5
def test_what_is_no_inspectable_function_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'min'.*wrap it in a Python function"):
        task(min)
    with pytest.raises(TypeError, match="`fn` must be callable"):
        FunctionTask(5)  # type: ignore[arg-type]  # what is refused


# R-TASK-6 R-REAL-8
@pytest.mark.parametrize(
    ("annotation", "nout"),
    [
        (tuple[int, str], 2),
        (Tuple[int, str, int], 3),  # noqa: UP006
        (Tuple[()], 0),  # noqa: UP006
        (tuple[()], 0),
        (tuple, None),
        (Tuple, None),  # noqa: UP006
        (tuple[int, ...], None),
        (Tuple[int, ...], None),  # noqa: UP006
        (list[int], None),
        ("tuple[int, str]", 2),
        ("Tuple[()]", 0),
        ("Tuple[int, ...]", None),
        ("tuple[OnlyForTypeCheckers, int]", 2),
        ("typing.Tuple[OnlyForTypeCheckers, int]", 2),
        ("Tuple[()] | OnlyForTypeCheckers", None),
        ("tuple[OnlyForTypeCheckers, ...]", None),
        ("not an annotation", None),
        ("Fetched", None),
    ],
)
def test_number_of_outputs_is_read_from_the_return_annotation(annotation: Any, nout: int | None) -> None:
    def fn() -> Any: ...

    fn.__annotations__["return"] = annotation
    assert task(fn).nout == nout


# R-TASK-6
def test_given_nout_wins_over_the_annotation_and_none_means_to_look() -> None:
    def pair() -> tuple[int, int]:
        return 1, 2

    assert task(pair).nout == 2
    assert task(pair, nout=3).nout == 3
    assert task(nout=True)(pair).nout is True  # found in real flows; means one


# R-REAL-8
def test_unannotated_class_task_has_no_nout_and_annotated_run_has() -> None:
    class Plain(Task):
        def run(self) -> Any: ...

    class Pair(Task):
        def run(self) -> tuple[str, str]:
            return "a", "b"

    assert Plain().nout is None
    assert Pair().nout == 2


# R-REAL-8 R-OP-4
def test_task_that_was_not_called_can_be_unpacked_in_a_flow() -> None:
    @task
    def init() -> tuple[str, str]:
        return "catalog", "session"

    with Flow("f") as flow:
        catalog, session = init
    assert [one.name for one in flow.sorted_tasks()] == ["init", "init[0]", "init[1]"]
    assert flow.upstream_tasks(catalog) == flow.upstream_tasks(session) == {init}


# R-TASK-7
def test_attribute_set_before_super_init_is_overwritten_with_a_warning() -> None:
    class Hasty(Task):
        def __init__(self) -> None:
            self.name = "mine"
            self.result = "mine"  # type: ignore[assignment]  # overwritten below
            super().__init__()

    with pytest.warns(UserWarning, match="`name`, `result`"):
        hasty = Hasty()
    assert (hasty.name, hasty.result) == ("Hasty", None)


# R-TASK-7
def test_own_attributes_may_be_set_before_super_init() -> None:
    class Careful(Task):
        def __init__(self) -> None:
            self.command = "ls"
            super().__init__()

    assert Careful().command == "ls"


# R-TASK-8
def test_task_given_to_a_constructor_warns_and_changes_nothing() -> None:
    class Query(Task):
        def __init__(self, sql: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.sql = sql

    with pytest.warns(UserWarning, match=r"constructor of Query.*Query\(\.\.\.\)\(task\)"):
        query = Query(add)
    assert query.sql is add
    with pytest.warns(UserWarning, match="constructor of Query"):
        Query(sql=add)


# R-TASK-9
def test_repr_shows_the_kind_and_the_name() -> None:
    class Fetch(Task):
        pass

    assert repr(add) == "<Task: add>"
    assert repr(Fetch()) == "<Task: Fetch>"
    assert repr(Parameter("p")) == "<Parameter: p>"


# R-TASK-10 R-OP-2
def test_tasks_are_themselves_and_equal_to_nothing_else() -> None:
    with Flow("f") as flow:
        one: Any = add(1)
        other: Any = add(1)
        assert bool(one)
        assert (one == 1) is False
        assert (one != other) is True
    assert len({one, other, one}) == 2
    assert flow.tasks == {one, other}


# R-TASK-11
def test_inputs_and_outputs_come_from_the_signature() -> None:
    @task
    def fetch(page: int, size=3, *, tag: str | None = None, **more: Any) -> Fetched:  # type: ignore[no-untyped-def]
        return Fetched(page)

    assert fetch.inputs() == {
        "page": {"type": int, "default": None, "required": True},
        "size": {"type": Any, "default": 3, "required": False},
        "tag": {"type": str | None, "default": None, "required": False},
    }
    assert fetch.outputs() is Fetched
    assert Task().outputs() is Any


# R-TASK-12
def test_signature_shows_how_a_task_is_called() -> None:
    called = "mapped=False, task_args=None, upstream_tasks=None, flow=None"
    assert str(inspect.signature(add)) == f"(x: 'Any', y: 'Any' = 1, *, {called}) -> 'Task'"

    @task
    def takes_more(x, **more):  # type: ignore[no-untyped-def]  # the shortest signature to look at
        return x

    assert str(inspect.signature(takes_more)) == f"(x, *, {called}, **more) -> 'Task'"


# R-INV-6
def test_constructor_takes_its_options_in_the_documented_order() -> None:
    assert ", ".join(inspect.signature(Task).parameters) == (
        "name, slug, tags, max_retries, retry_delay, retry_on, timeout, trigger, skip_on_upstream_skip, "
        "cache_for, cache_validator, cache_key, checkpoint, state_handlers, on_failure, log_stdout, result, "
        "target, task_run_name, nout, rescue, executor_options, version"
    )
    assert list(inspect.signature(FunctionTask).parameters) == ["fn", "name", "kwargs"]


# R-TASK-13
def test_base_task_is_a_usable_no_op() -> None:
    nothing: Any = Task().run()
    assert nothing is None


# R-TASK-14 R-REAL-11
def test_arguments_not_passed_fall_back_to_attributes() -> None:
    class Shell(Task):
        def __init__(self, command: str | None = None, env: Any = None, **kwargs: Any) -> None:
            self.command, self.env = command, env
            super().__init__(**kwargs)

        @defaults_from_attrs("command", "env")
        def run(self, command: str | None = None, env: Any = None) -> tuple[Any, Any]:
            return command, env

    shell = Shell(command="ls", env={"A": "1"}, name="list", tags={"sh"})
    assert shell.run() == ("ls", {"A": "1"})
    assert shell.run("pwd") == ("pwd", {"A": "1"})
    assert shell.run(env=None) == ("ls", None)
    assert shell.nout == 2
    with Flow("f") as flow:
        called = shell(env="x")
    assert flow.constants[called] == {"env": "x"}


# R-TASK-15
def test_task_constructed_and_not_used_is_named_when_the_block_ends() -> None:
    def build() -> Flow:
        with Flow("f") as flow:
            Task(name="lost")
            Parameter("unused")
        return flow

    with pytest.warns(
        UserWarning, match="not added to the flow: <Task: lost>, <Parameter: unused>"
    ) as warned:
        flow = build()
    assert warned[0].filename == __file__
    assert not flow.tasks


# R-TASK-15 R-PARAM-6
def test_tasks_that_were_called_added_copied_or_passed_are_not_named() -> None:
    from tenuto.core.nodes import Constant

    with Flow("f") as flow:
        add(Task(name="passed"))
        Task(name="called")()
        Task(name="bound").bind()
        Task(name="copied").copy()
        flow.add_task(Task(name="added"))
        Constant(3)
        Parameter("called")()
    assert {"passed", "called", "bound", "added"} <= {one.name for one in flow.tasks}


# R-TASK-15
def test_failing_block_warns_of_nothing() -> None:
    with pytest.raises(ZeroDivisionError), Flow("f"):
        Task(name=str(1 / len(Task(name="lost").tags)))


# R-TASK-16
def test_tags_nest_by_union_and_are_restored() -> None:
    with Flow("f"):
        with tags("a", "b"):
            outer: Any = add(1)
            with tags("c"):
                inner: Any = add.copy(tags=["own"])
                bound = Task(name="later").bind()
            after: Any = Task(tags=["own"]).bind()
        plain: Any = add(1)
    assert outer.tags == {"a", "b"}
    assert inner.tags == {"a", "b", "c", "own"}
    assert bound.tags == {"a", "b", "c"}
    assert after.tags == {"a", "b", "own"}
    assert plain.tags == add.tags == set()


# R-TASK-16
def test_tags_are_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), tags("a"):
        raise ZeroDivisionError
    assert Task().tags == set()


# R-REAL-11 R-LOG-5
def test_task_has_a_logger_of_its_name_which_a_subclass_may_replace() -> None:
    import logging

    class Loud(Task):
        def __init__(self) -> None:
            super().__init__(name="loud")
            self.logger = logging.getLogger("mine")

    assert Task(name="quiet").logger.name == "tenuto.quiet"
    assert Loud().logger.name == "mine"
    assert Task(name="a").copy(name="b").logger.name == "tenuto.b"


# R-REAL-10
def test_class_task_constructed_in_a_task_does_nothing_and_can_be_run() -> None:
    class Slack(Task):
        def __init__(self, message: str) -> None:
            super().__init__()
            self.message = message

        def run(self) -> str:
            return f"sent {self.message}"

    assert Slack(message="hi").run() == "sent hi"


def test_build_errors_name_the_line_of_the_call() -> None:
    with pytest.raises(TypeError) as refused, Flow("f"):
        add(z=3)  # type: ignore[call-overload]  # what is refused
    assert refused.value.__notes__ == [f"Called at {__file__}:{inspect_line()}"]


def inspect_line() -> int:
    """Return the line of the only call of `add(z=3)` here."""
    source = inspect.getsource(test_build_errors_name_the_line_of_the_call).splitlines()
    return inspect.getsourcelines(test_build_errors_name_the_line_of_the_call)[1] + next(
        number for number, line in enumerate(source) if "add(z=3)" in line
    )
