"""Parameters."""

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from tenuto import Flow, Parameter, Task, case, context, task
from tenuto.core.parameter import DateTimeParameter
from tenuto.engine.results import PrefectResult
from tenuto.engine.signals import FAIL


@task
def take(value: Any) -> Any:
    return value


# R-PARAM-1 [seed S-4]
def test_required_unless_there_is_a_default() -> None:
    assert Parameter("p").required is True
    assert (Parameter("p", default=0.2).required, Parameter("p", 0.2).default) == (False, 0.2)
    assert (Parameter("p", default=None).required, Parameter("p", default=None).run()) == (False, None)
    assert (Parameter("p", required=False).required, Parameter("p", required=False).run()) == (False, None)


# R-PARAM-2
def test_default_of_a_required_parameter_warns_that_it_is_never_used() -> None:
    with pytest.warns(UserWarning, match="'p' is required, so its default is never used"):
        parameter = Parameter("p", default=3, required=True)
    assert parameter.required is True
    with pytest.raises(FAIL, match='Parameter "p" was required but not provided'):
        parameter.run()


# R-PARAM-3 [seed S-6]
def test_parameter_is_a_root_task_with_its_name_as_slug() -> None:
    parameter: Any = Parameter("p", default=1, tags=["t"], schema={"type": "integer"})
    assert issubclass(Parameter, Task)
    assert (parameter.name, parameter.slug, parameter.tags) == ("p", "p", {"t"})
    assert parameter.checkpoint is True
    assert isinstance(parameter.result, PrefectResult)
    assert parameter.schema == {"type": "integer"}
    with Flow("f") as flow:
        take(parameter)
    assert flow.slugs[parameter] == "p"
    assert flow.parameters() == {parameter}
    assert flow.sorted_tasks()[0] is parameter


# R-PARAM-4 R-FLOW-11
def test_second_parameter_of_a_name_is_refused_and_the_first_is_named() -> None:
    flow = Flow("f")
    first = Parameter("p", default=1)(flow=flow)
    with pytest.raises(
        ValueError, match=r'^A task with the slug "p" already exists in this flow\.'
    ) as refused:
        Parameter("p", default=2)(flow=flow)
    flow.add_task(first)
    assert "different names" in str(refused.value)
    assert any(f"<Parameter: p> was added at {__file__}:" in note for note in refused.value.__notes__)
    assert flow.tasks == {first}


# R-PARAM-5
def test_parameter_cannot_depend_on_anything() -> None:
    text = r"^Parameters must be root tasks and can not have upstream dependencies\.\n"
    flow = Flow("f")
    parameter = Parameter("p", default=1)(flow=flow)
    with pytest.raises(ValueError, match=text):
        parameter.set_upstream(Task(), flow=flow)
    with pytest.raises(ValueError, match=text):
        flow.add_edge(5, parameter)
    with pytest.raises(ValueError, match=text):
        Task().set_downstream(parameter, flow=flow)
    assert not flow.edges


# R-PARAM-6
def test_parameter_is_added_by_use_by_a_call_or_by_hand() -> None:
    with Flow("f") as flow:
        used, called, added = (Parameter(name, default=1) for name in ("used", "called", "added"))
        take(used)
        assert called() is called
        assert flow.add_task(added) is added
        called()
    assert flow.parameters() == {used, called, added}
    with pytest.raises(ValueError, match="infer an active Flow context for <Parameter: p>"):
        Parameter("p")()
    given = Parameter("p")
    other = Flow("g")
    assert given(flow=other) in other.tasks


# R-PARAM-8
def test_value_comes_from_the_context_before_the_default() -> None:
    parameter = Parameter("p", default=1)
    assert parameter.run() == 1
    with context(parameters={"p": None, "q": 2}):
        assert parameter.run() is None
        assert Parameter("q").run() == 2
        assert Parameter("r", default=3).run() == 3


# R-PARAM-9
def test_value_is_passed_as_it_is() -> None:
    value = object()
    with context(parameters={"p": value}):
        assert Parameter("p").run() is value


# R-PARAM-10
def test_date_time_parameter_makes_aware_datetimes() -> None:
    moment = datetime(2020, 1, 2, 3, tzinfo=UTC)
    values = {
        "2020-01-02T03:00:00": moment,
        "2020-01-02 05:00:00+02:00": moment,
        datetime(2020, 1, 2, 3): moment,  # noqa: DTZ001  # what is made aware
        moment: moment,
        None: None,
    }
    for value, expected in values.items():
        with context(parameters={"when": value}):
            found = DateTimeParameter("when").run()
        assert found == expected
        assert found is None or found.tzinfo is not None
    assert DateTimeParameter("when", default="2020-01-02T03:00:00", required=False).run() == moment
    with context(parameters={"when": "soon"}), pytest.raises(ValueError, match="soon"):
        DateTimeParameter("when").run()


# R-PARAM-11
def test_date_time_parameter_stays_required_unless_told_otherwise() -> None:
    assert DateTimeParameter("when").required is True
    with pytest.warns(UserWarning, match="never used"):
        assert DateTimeParameter("when", default="2020-01-01").required is True
    assert DateTimeParameter("when", False).required is False
    assert DateTimeParameter("when", True).default is None
    assert repr(DateTimeParameter("when")) == "<Parameter: when>"


# R-GRAPH-11 R-CASE-5
def test_parameter_made_in_a_block_is_not_part_of_it() -> None:
    with Flow("f") as flow:
        condition = Task(name="condition")
        with case(condition, True):
            inner: Any = take(Parameter("p", default=1))
    compare = next(one for one in flow.tasks if one.name == "case(True)")
    assert flow.downstream_tasks(compare) == {inner}


# R-REAL-3
def test_parameters_survive_pickling() -> None:
    for parameter in (Parameter("p"), Parameter("q", default=[1])):
        copied = pickle.loads(pickle.dumps(parameter))
        assert (copied.name, copied.required, copied.default) == (
            parameter.name,
            parameter.required,
            parameter.default,
        )
