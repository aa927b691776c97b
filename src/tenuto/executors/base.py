"""The interface between the runner, which decides, and the places where task bodies run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from tenuto.exceptions import PrefectException

__all__ = ["Executor", "ExecutorUnavailable", "WorkerLost", "imported", "resolved"]


class ExecutorUnavailable(PrefectException, RuntimeError):
    """The cluster or pool that tasks were to run on cannot be had."""


class WorkerLost(PrefectException, RuntimeError):
    """What a task ran in has ended before the task did; `what` says which, and how."""

    cause = "crashed"

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} while it ran the task. If the system ended it, it may have run out of memory: try fewer "
            "workers, or smaller values. With max_retries= on the task, it is run again."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkerLost, (self.what,)


class Executor:
    """
    Runs task bodies. Subclass it to make an executor of your own.

    `submit` hands over a call and returns a future or, where it ran at once, the value itself. A future with
    `add_done_callback` (as those of `concurrent.futures` and Dask have it) lets the runner go on with other
    tasks meanwhile; any other kind of future is resolved through `wait`.
    """

    places_work = True
    """Whether `submit` looks at `extra_context`; where not, the runner does not put it together."""

    slots: int | None = None
    """How many calls the runner hands over before one has come back; None: all that are ready."""

    goes_ahead = False
    """
    Whether `submit` takes calls that come after others whose values nobody has yet: `after` in
    `extra_context` are futures that it has given, and a `PromisedValue` in the attempt's inputs stands for
    the value of the n-th of them. Such a call begins when each of them has let it go on
    (`engine.transitions.lets_go_on`), and is cancelled when one has not. What it gives is told when it is
    claimed.
    """

    @contextmanager
    def start(self) -> Iterator[None]:
        """Make the executor ready for one flow run, and release what it holds afterwards."""
        yield

    def submit(
        self, fn: Callable[..., Any], *args: Any, extra_context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """
        Run `fn(*args, **kwargs)`, now or later.

        Args:
            fn: what to call; on other processes it travels by cloudpickle, with its arguments.
            extra_context: facts about the task run (`task_name`, `task_tags`, `map_index`, ...) for an
                executor that places work by them; `may_be_withdrawn` where `withdraw` may follow.

        Returns:
            A future, or the value.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `submit`.")

    def wait(self, futures: Any) -> Any:
        """Return the values of `futures`: any nesting of lists, tuples and dicts of what `submit` gave."""
        raise NotImplementedError(f"{type(self).__name__} must define `wait`.")

    def claim(self, future: Any) -> None:
        """Let the future of a call that was submitted ahead have what the call gives: its turn has come."""
        raise NotImplementedError(f"{type(self).__name__} goes ahead: it must define `claim`.")

    def withdraw(self) -> None:
        """
        Take back the calls that may be withdrawn and have not begun: cancel their futures.

        Called when a flow with `fail_fast=True` has failed; what is at work goes on. An executor with as many
        `slots` as workers has nothing to take back.
        """

    def __repr__(self) -> str:
        return f"<Executor: {type(self).__name__}>"


def resolved(futures: Any) -> Any:
    """Return any nesting of lists, tuples and dicts with the values of the futures in it; waits for them."""
    if isinstance(futures, list | tuple):
        return type(futures)(map(resolved, futures))
    if isinstance(futures, dict):
        return {key: resolved(future) for key, future in futures.items()}
    return futures.result() if isinstance(futures, Future) else futures


def imported(module: str, extra: str) -> Any:
    """
    Return a module of an optional dependency.

    Raises:
        ImportError: naming the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} cannot be imported ({error}). Install it with: pip install 'tenuto[{extra}]'"
        ) from error
