"""Parameters: the tasks that get their values when a flow is run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tenuto._base.callsite import note_callsite, warn
from tenuto._base.context import context
from tenuto._base.datetimes import ensure_aware, parse_datetime
from tenuto.core.building import active_flow
from tenuto.core.sentinel import NO_DEFAULT
from tenuto.core.task import Task
from tenuto.engine.results.prefect_result import PrefectResult
from tenuto.engine.signals import FAIL

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["DateTimeParameter", "Parameter"]


class ParameterTask(Task):
    """What a parameter does; `Parameter` is how it is made."""

    joins_blocks: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        default: Any = NO_DEFAULT,
        required: bool | None = None,
        tags: Iterable[str] | None = None,
        *,
        schema: dict[str, Any] | None = None,
    ) -> None:
        has_default = default is not NO_DEFAULT
        if required is None:
            required = not has_default
        elif required and has_default:
            warn(
                f"The parameter {name!r} is required, so its default is never used; set `required=False` to "
                "use it."
            )
        self.required = required
        self.default = default if has_default else None
        self.schema = schema
        super().__init__(name=name, slug=name, tags=tags, result=PrefectResult(), checkpoint=True)

    def __repr__(self) -> str:
        return f"<Parameter: {self.name}>"

    def __call__(self, flow: Flow | None = None) -> Any:  # type: ignore[override]  # takes no arguments
        """Add this parameter to a flow, without a copy, and return it."""
        flow = flow or active_flow()
        if flow is None:
            raise note_callsite(
                ValueError(
                    f"Could not infer an active Flow context for {self!r}. Parameters are called inside a "
                    "`with Flow(...)` block, or with `flow=`."
                )
            )
        return flow.add_task(self)

    def copy(self, name: str, **task_args: Any) -> Self:  # type: ignore[override]  # the name is what tells it apart
        """Return a copy of another name; its slug is that name."""
        return super().copy(name=name, slug=name, **task_args)

    def run(self) -> Any:
        """
        Return the value that the run was given, or the default.

        Raises:
            FAIL: if it is required and was not given.
        """
        given = context.current().get("parameters") or {}
        if self.name in given:
            return given[self.name]
        if self.required:
            raise FAIL(f'Parameter "{self.name}" was required but not provided.')
        return self.default


class Parameter(ParameterTask):
    """
    A value that is given when the flow is run: `flow.run(parameters={"name": ...})` or `flow.run(name=...)`.

    Args:
        name: unique in a flow.
        default: used when no value is given; None is a default too.
        required: whether a run without a value is refused; default: whether there is no default.
        tags: as of every task.
        schema: JSON Schema of the value, for forms and checks; default: none.
    """

    if TYPE_CHECKING:
        # A parameter is passed to tasks where their functions expect a value, whatever its type. Type
        # checkers take the signature from here only because `__init__` is further up.
        def __new__(
            cls,
            name: str,
            default: Any = ...,
            required: bool | None = None,
            tags: Iterable[str] | None = None,
            *,
            schema: dict[str, Any] | None = None,
        ) -> Any: ...


class DateTimeParameter(Parameter):
    """
    A parameter whose value is a date and time: texts are parsed, and without an offset taken as UTC.

    Args:
        required: stays True when a default is given.
    """

    if TYPE_CHECKING:

        def __new__(
            cls,
            name: str,
            default: Any = ...,
            required: bool = ...,
            tags: Iterable[str] | None = None,
            *,
            schema: dict[str, Any] | None = None,
        ) -> Any: ...

    else:

        def __init__(
            self,
            name,
            default=NO_DEFAULT,
            required=True,
            tags=None,
            *,
            schema=None,
        ):
            if isinstance(default, bool):
                # Before there were defaults, `required` was the second argument.
                default, required = NO_DEFAULT, default
            super().__init__(name, default=default, required=required, tags=tags, schema=schema)

    def run(self) -> datetime | None:
        """
        Return the value as an aware datetime.

        Raises:
            ValueError: if a text is not a date and time.
        """
        value = super().run()
        if value is None:
            return None
        return parse_datetime(value) if isinstance(value, str) else ensure_aware(value)
