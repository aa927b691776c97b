"""Tasks: the nodes of a flow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from datetime import timedelta
from functools import cached_property
from inspect import Signature
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tenuto._base.callsite import note_callsite, warn
from tenuto._base.logging import get_logger
from tenuto.core import options
from tenuto.core.annotations import EdgeAnnotation
from tenuto.core.building import active_flow, active_tags, note_constructed, note_used
from tenuto.core.expressions import Expressions
from tenuto.core.signatures import RunSignature, check_run, positional_only, resolve_annotation, run_signature
from tenuto.core.task_args import set_options
from tenuto.triggers import all_successful

if TYPE_CHECKING:
    import logging

    from tenuto.core.flow import Flow
    from tenuto.core.options import RetryDelay, RetryOn, StateHandler, Trigger
    from tenuto.engine.result import Result
    from tenuto.engine.state import State

__all__ = ["Task"]


class _SignatureOfCall:
    """Makes `inspect.signature` show how a task is called, and for the class how one is constructed."""

    def __get__(self, task: Task | None, owner: type[Task]) -> Signature:
        if task is not None:
            return task._run_signature.of_call()
        parameters = list(inspect.signature(owner.__init__).parameters.values())
        return Signature(parameters[1:])


class Task(Expressions):
    """
    A step of a flow: subclass it and define `run`, or decorate a function with `@task`.

    Calling a task inside `with Flow(...)` copies it, puts the copy into the flow and runs nothing;
    `task.run(...)` is the plain function.

    Args:
        name: shown in logs and pictures, not unique; default: the class's or function's name.
        slug: stable id inside a flow; made up by the flow if absent.
        tags: united with those of surrounding `tags(...)` blocks.
        max_retries: number of runs after a failed first one; needs `retry_delay`.
        retry_delay: wait before the next attempt; or a function from the run count to that wait.
        retry_on: retry only failures by these exceptions.
        timeout: whole seconds that one attempt may take.
        trigger: decides from the states of the upstream tasks whether this one runs.
        skip_on_upstream_skip: skip this task if any direct upstream task was skipped.
        cache_for: how long the output is reused by later runs.
        cache_validator: decides whether a cached output may be reused.
        cache_key: name under which the output is cached; default: the task's name.
        checkpoint: False: never persist the output.
        state_handlers: called as `handler(task, old_state, new_state)` on each change of state.
        on_failure: called as `fn(task, state)` on each failed attempt.
        log_stdout: send what `run` prints to the log.
        result: where and how the output is persisted.
        target: location template or function; the task does not run when something is there.
        task_run_name: template or function for the name of a task run.
        nout: number of values that `run` returns, for unpacking; default: by the return annotation.
        rescue: whether a task run whose worker died may be started again elsewhere.
        executor_options: handed to the executor with each run of this task.
        version: stands for the code of this task when a run is resumed; change it to make the task run again.

    Raises:
        ValueError: if retries are given incompletely, or `run` has arguments that a task cannot have.
        TypeError: if an option has the wrong type, or `run` has positional-only arguments.
    """

    auto_generated: ClassVar[bool] = False
    """Whether the task was made for a plain value."""

    is_secret: ClassVar[bool] = False
    resource_role: ClassVar[str | None] = None
    """`init`, `setup` or `cleanup` for the tasks of a resource manager."""

    joins_blocks: ClassVar[bool] = True
    """Whether the task belongs to the `case` or resource block in which it is added."""

    # Numpy would otherwise take a task for a scalar in `array + task` and add it to each item.
    __array_ufunc__ = None
    __signature__ = _SignatureOfCall()

    name: str
    tags: set[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        run = cls.__dict__.get("run")
        if inspect.isfunction(run):
            try:
                check_run(inspect.signature(run))
            except ValueError as error:
                raise note_callsite(error) from None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if any(isinstance(value, Task) for value in (*args, *kwargs.values())):
            warn(
                f"A task was passed to the constructor of {cls.__name__}. What is known now belongs in the "
                "constructor; the results of other tasks are passed when the task is called: "
                f"{cls.__name__}(...)(task)."
            )
        return super().__new__(cls)

    def __init__(
        self,
        name: str | None = None,
        slug: str | None = None,
        tags: Iterable[str] | None = None,
        max_retries: int | None = None,
        retry_delay: RetryDelay | None = None,
        retry_on: RetryOn | None = None,
        timeout: int | timedelta | None = None,
        trigger: Trigger | None = None,
        skip_on_upstream_skip: bool = True,
        cache_for: timedelta | None = None,
        cache_validator: Callable[..., bool] | None = None,
        cache_key: str | None = None,
        checkpoint: bool | None = None,
        state_handlers: Iterable[StateHandler] | None = None,
        on_failure: Callable[[Any, State], Any] | None = None,
        log_stdout: bool = False,
        result: Result | None = None,
        target: str | Callable[..., str] | None = None,
        task_run_name: str | Callable[..., str] | None = None,
        nout: int | None = None,
        *,
        rescue: bool = True,
        executor_options: dict[str, Any] | None = None,
        version: str | None = None,
    ) -> None:
        if vars(self):
            _warn_overwritten(self)
        self.name = name or type(self).__name__
        self.slug = slug
        self.tags = options.tag_set(tags) | active_tags()
        retries = options.retries(max_retries, retry_delay, retry_on)
        self.max_retries, self.retry_delay, self.retry_on = retries
        self.timeout = options.timeout_seconds(timeout)
        self.trigger: Trigger = trigger or all_successful
        self.skip_on_upstream_skip = skip_on_upstream_skip
        self.cache_for = cache_for
        self.cache_validator = options.validator(cache_for, cache_validator)
        self.cache_key = cache_key
        self.checkpoint = checkpoint
        self.state_handlers = options.handler_list(state_handlers, on_failure)
        self.log_stdout = log_stdout
        self.result = options.result_at_target(result, target)
        self.target = target
        self.task_run_name = task_run_name
        self.nout = self._run_signature.nout if nout is None else nout
        self.rescue = rescue
        self.executor_options = dict(executor_options or {})
        self.version = version
        self._check_positional_only()
        note_constructed(self)

    if TYPE_CHECKING:
        # Subclasses define `run` with whatever arguments they like.
        def run(self, *args: Any, **kwargs: Any) -> Any: ...

    else:

        def run(self):
            """Do the work; subclasses define it. Here: nothing, so that `Task()` is a usable no-op."""

    # -------------------------------------------------------------------------------------- looking at a task

    def __repr__(self) -> str:
        return f"<Task: {self.name}>"

    @cached_property
    def logger(self) -> logging.Logger:
        """The logger of this task's name."""
        return get_logger(self.name)

    @property
    def _run_signature(self) -> RunSignature:
        return run_signature(self.run)

    def inputs(self) -> dict[str, dict[str, Any]]:
        """Return the arguments of `run`: name -> `{"type", "default", "required"}`."""
        found = {}
        for name, parameter in self._run_signature.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            required = parameter.default is parameter.empty
            annotation = resolve_annotation(parameter.annotation, self.run)
            found[name] = {
                "type": Any if annotation is parameter.empty else annotation,
                "default": None if required else parameter.default,
                "required": required,
            }
        return found

    def outputs(self) -> Any:
        """Return the return annotation of `run`, `Any` without one."""
        annotation = self._run_signature.signature.return_annotation
        return Any if annotation is Signature.empty else resolve_annotation(annotation, self.run)

    def serialize(self) -> dict[str, Any]:
        """Return what is known of the task as plain data, for JSON."""
        from tenuto.serialization.flow import task_to_dict

        return task_to_dict(self)

    def __iter__(self) -> Iterator[Any]:
        if self.nout is None:
            raise note_callsite(
                TypeError(
                    "Task is not iterable. If its run returns several values, say how many with `nout=`, or "
                    "annotate it: `-> tuple[A, B]`."
                )
            )
        return iter([self[index] for index in range(self.nout)])

    # -------------------------------------------------------------------------------------------- into a flow

    def __call__(
        self,
        *args: Any,
        mapped: bool = False,
        task_args: Mapping[str, Any] | None = None,
        upstream_tasks: Iterable[Any] | None = None,
        flow: Flow | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Put a copy of this task into a flow, with these arguments; nothing is run.

        Args:
            *args, **kwargs: arguments of `run`: tasks, whose results are passed at run time, or plain values.
            mapped: run once for each item of the arguments.
            task_args: options that the copy has otherwise.
            upstream_tasks: tasks that come first without passing data.
            flow: default: the flow whose `with` block is open.

        Returns:
            The copy; typed as what `run` returns, because that is what the tasks that take it are given.

        Raises:
            TypeError: if an argument is missing, unknown, or cannot be mapped over.
            ValueError: if there is no flow.
        """
        new = self._copy_for_call(flow, task_args, mapped)
        return new.bind(*args, mapped=mapped, upstream_tasks=upstream_tasks, flow=flow, **kwargs)

    def map(
        self,
        *args: Any,
        upstream_tasks: Iterable[Any] | None = None,
        flow: Flow | None = None,
        task_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Put a copy of this task into a flow that runs once for each item of the arguments.

        Arguments wrapped in `unmapped` are handed over whole. Everything else is as in a call.
        """
        new = self._copy_for_call(flow, task_args, mapped=True)
        return new.bind(*args, mapped=True, upstream_tasks=upstream_tasks, flow=flow, **kwargs)

    def bind(
        self,
        *args: Any,
        mapped: bool = False,
        upstream_tasks: Iterable[Any] | None = None,
        flow: Flow | None = None,
        **kwargs: Any,
    ) -> Self:
        """Put this very task into a flow, with these arguments; as a call, but without the copy."""
        flow = flow or active_flow()
        if flow is None:
            raise note_callsite(
                ValueError(
                    f"Could not infer an active Flow context while creating edge to {self!r}. Tasks are "
                    "called inside a `with Flow(...)` block, or with `flow=`. To run the task's own code "
                    f"here, call `{self._name_in_code()}.run(...)`."
                )
            )
        try:
            arguments = self._run_signature.bind(args, kwargs)
        except TypeError as error:
            raise note_callsite(error) from None
        if mapped:
            for value in arguments.values():
                _check_subscriptable(value)
        self.tags = self.tags | active_tags()
        flow.set_dependencies(
            self, upstream_tasks=upstream_tasks, keyword_tasks=arguments, mapped=mapped, validate=None
        )
        return self

    def copy(self, **task_args: Any) -> Self:
        """
        Return a copy of this task that is in no flow.

        Args:
            **task_args: options that the copy has otherwise.

        Raises:
            AttributeError: if there is no such option or attribute.
            TypeError, ValueError: as the constructor does.
        """
        return self._copy(task_args, active_flow())

    def pipe(self, task: Any, /, **kwargs: Any) -> Any:
        """Return `task(self, **kwargs)`: the next step of a chain. An edge annotation annotates this task."""
        if "self" in kwargs:
            raise note_callsite(
                ValueError("`pipe` passes the task itself; an argument cannot be named `self`.")
            )
        if isinstance(task, type) and issubclass(task, EdgeAnnotation):
            return task(self)
        return task(self, **kwargs)

    def set_upstream(
        self, task: Any, flow: Flow | None = None, key: str | None = None, mapped: bool = False
    ) -> Self:
        """Make a task or plain value come before this one; with a `key`, its result is that argument."""
        if key is not None:
            return self.set_dependencies(flow=flow, keyword_tasks={key: task}, mapped=mapped)
        return self.set_dependencies(flow=flow, upstream_tasks=[task], mapped=mapped)

    def set_downstream(
        self, task: Any, flow: Flow | None = None, key: str | None = None, mapped: bool = False
    ) -> Self:
        """Make `task` come after this one; with a `key` this task's result is that argument of it."""
        flow = self._flow_or_active(flow)
        if key is not None:
            flow.set_dependencies(task, keyword_tasks={key: self}, mapped=mapped)
        else:
            flow.set_dependencies(self, downstream_tasks=[task], mapped=mapped)
        return self

    def set_dependencies(
        self,
        flow: Flow | None = None,
        upstream_tasks: Iterable[Any] | None = None,
        downstream_tasks: Iterable[Any] | None = None,
        keyword_tasks: Mapping[str, Any] | None = None,
        mapped: bool = False,
        validate: bool | None = None,
    ) -> Self:
        """Add edges from and to this task; see `Flow.set_dependencies`."""
        self._flow_or_active(flow).set_dependencies(
            self,
            upstream_tasks=upstream_tasks,
            downstream_tasks=downstream_tasks,
            keyword_tasks=keyword_tasks,
            mapped=mapped,
            validate=validate,
        )
        return self

    def _flow_or_active(self, flow: Flow | None) -> Flow:
        flow = flow or active_flow()
        if flow is None:
            raise note_callsite(ValueError("No Flow was passed, and could not infer an active Flow context."))
        return flow

    def _name_in_code(self) -> str:
        return f"{type(self).__name__}(...)"

    def _check_positional_only(self) -> None:
        names = positional_only(self._run_signature.signature)
        if names:
            raise note_callsite(
                TypeError(
                    f"The task {self.name!r} has positional-only parameters, which are not supported: "
                    f"{', '.join(names)}."
                )
            )

    # ------------------------------------------------------------------------------------------------- copies

    def _copy_for_call(self, flow: Flow | None, task_args: Mapping[str, Any] | None, mapped: bool) -> Self:
        flow = flow or active_flow()
        new = self._copy({"nout": None, **(task_args or {})} if mapped else task_args or {}, flow)
        if self.slug is not None and flow is not None and "slug" not in (task_args or {}):
            new.slug = self.slug
            while flow.get_tasks(slug=new.slug):
                new.slug += "-copy"
        return new

    def _copy(self, task_args: Mapping[str, Any], flow: Flow | None) -> Self:
        note_used(self)
        if flow is not None and flow.has_edges(self):
            warn(
                f"{self!r} has dependencies in this flow, and a copy of it does not keep them: the new task "
                "is only connected to what it is given now."
            )
        new = copy(self)
        vars(new).pop("logger", None)
        new.tags = self.tags | active_tags()
        new.state_handlers = list(self.state_handlers)
        new.executor_options = dict(self.executor_options)
        if self.slug is not None and "slug" not in task_args:
            new.slug = f"{self.slug}-copy"
        if task_args:
            set_options(new, dict(task_args))
        return new


_OPTION_NAMES = frozenset(inspect.signature(Task.__init__).parameters) - {"self", "on_failure"}


def _warn_overwritten(task: Task) -> None:
    overwritten = sorted(_OPTION_NAMES & vars(task).keys())
    if overwritten:
        names = ", ".join(f"`{name}`" for name in overwritten)
        warn(
            f"{type(task).__name__} sets {names} before it calls `super().__init__`, which overwrites that; "
            "pass the value to `super().__init__` or set it afterwards."
        )


def _check_subscriptable(value: Any) -> None:
    if not isinstance(value, EdgeAnnotation) and not hasattr(value, "__getitem__"):
        raise note_callsite(
            TypeError(f"Cannot map over unsubscriptable object of type {type(value)}: {repr(value)[:10]}...")
        )
