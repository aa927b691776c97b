"""
What goes to other processes and comes back: pickled, with what many attempts share pickled and sent once.

Functions and classes of scripts and notebooks travel by value, so that no process imports a script again.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import cloudpickle

from tenuto._base.texts import safe_text
from tenuto.engine.attempt import Attempt, Body, Surroundings
from tenuto.engine.transitions import Outcome
from tenuto.exceptions import PrefectException
from tenuto.journal.event import ErrorInfo
from tenuto.journal.pickling import ScriptPickler
from tenuto.journal.process import this_process

__all__ = [
    "NotPicklable",
    "Packer",
    "Parcel",
    "forget_parts",
    "open_parcel",
    "pack_answer",
    "receive_part",
    "stamp",
]

_PARTS_MAX = 1000

E = TypeVar("E", bound=BaseException)


class NotPicklable(PrefectException, TypeError):
    """Something cannot go to, or come from, the process that a task runs in."""

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(
            f"{what} cannot be sent to another process: {reason}. Make it inside of the task, or run the "
            "flow with an executor that stays in this process (LocalExecutor, or threads)."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return NotPicklable, (self.what, self.reason)


class Parcel(NamedTuple):
    """A pickled value, and the names of the parts that the other side needs to open it."""

    data: bytes
    parts: tuple[str, ...]


class Packer:
    """
    Pickles for other processes. Safe to use from several threads.

    A part (a task, the context of a run) is pickled when it is first met, and named by the SHA-256 of its
    bytes: a process that has received it needs only the name.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # By identity; the object is held, so that no other one can have its id meanwhile.
        self._known: dict[int, tuple[object, str]] = {}
        self._parcels: dict[str, Parcel] = {}

    def pack(self, value: object) -> Parcel:
        """
        Pickle a value.

        Raises:
            NotPicklable: naming the argument or the variable that does not go.
        """
        with self._lock:
            try:
                return self._pickled(value)
            except Exception as error:
                # Pickling runs the code of the user's objects, which may raise anything.
                raise _explained(value, error) from error

    def part(self, name: str) -> bytes:
        """Return the bytes of a part that some parcel has named."""
        return self._parcels[name].data

    def _pickled(self, value: object) -> Parcel:
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self, value)
        pickler.dump(value)
        return Parcel(buffer.getvalue(), tuple(pickler.parts))

    def _add_part(self, part: object, needed: dict[str, None]) -> str:
        known = self._known.get(id(part))
        if known is None:
            parcel = self._pickled(part)
            name = hashlib.sha256(parcel.data).hexdigest()
            self._parcels[name] = parcel
            known = self._known[id(part)] = (part, name)
        name = known[1]
        needed.update(dict.fromkeys([*self._parcels[name].parts, name]))
        return name


class _Pickler(ScriptPickler):
    """Puts the name of a part where the part is."""

    def __init__(self, buffer: io.BytesIO, packer: Packer, root: object) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self._packer = packer
        self._root = root
        self.parts: dict[str, None] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Body | Surroundings) and obj is not self._root:
            return _take_part, (self._packer._add_part(obj, self.parts),)
        return super().reducer_override(obj)


# ----------------------------------------------------------------------------------------- the other side

# Parts that this process has received: bytes until they are needed, then the object.
_received: OrderedDict[str, object] = OrderedDict()


_receiving = threading.RLock()


def receive_part(name: str, data: bytes) -> None:
    """Take a part, unless it is here."""
    with _receiving:
        _received.setdefault(name, data)
        _received.move_to_end(name)


def forget_parts() -> None:
    """Forget the oldest of very many parts, in a process that gets them anew with each parcel."""
    with _receiving:
        while len(_received) > _PARTS_MAX:
            _received.popitem(last=False)


def _take_part(name: str) -> object:
    with _receiving:
        part = _received[name]
        if isinstance(part, bytes):
            part = _received[name] = pickle.loads(part)
        return part


def open_parcel(data: bytes) -> Any:
    """Return the value of a parcel whose parts have been received."""
    return pickle.loads(data)


def pack_answer(value: object) -> bytes:
    """Pickle what a call gave; in the outcome of a task, what cannot be pickled is replaced by the reason."""
    try:
        if isinstance(value, Outcome):
            stamp(value)
        return _dumps(value)
    except Exception as error:
        # As in `Packer.pack`. The task has run, and what it gave is lost to this run.
        if not isinstance(value, Outcome):
            raise NotPicklable("What was returned", safe_text(error)) from error
        lost = NotPicklable(f"The result of the task, a {type(value.value).__name__},", safe_text(error))
        return _dumps(Outcome(error=lost, kept=value.kept, seconds=value.seconds))


def stamp(outcome: Outcome) -> None:
    """Add to an outcome what would be lost on the way: where it was, and the traceback of an error."""
    if outcome.host:
        return  # It comes from a process beside this one, where all of it was known.
    me = this_process()
    outcome.host, outcome.pid = me.host, me.pid
    if outcome.write_error is not None:
        outcome.write_error = _portable(outcome.write_error)
    if outcome.error is not None:
        if isinstance(outcome.error, Exception):
            outcome.error_text = ErrorInfo.from_exception(outcome.error)
        outcome.error = _portable(outcome.error)


def _portable(error: E) -> E | RuntimeError:
    """Return an error that arrives as what it is; one whose own pickling is broken becomes a plain text."""
    try:
        cloudpickle.loads(_dumps(error))
    except Exception:  # noqa: BLE001  # a user's exception may need arguments that it does not pickle
        return RuntimeError(f"{type(error).__name__}: {safe_text(error)}")
    return error


def _dumps(value: object) -> bytes:
    data: bytes = cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return data


# ------------------------------------------------------------------------------------------------- errors


def _explained(value: object, error: Exception) -> NotPicklable:
    """Find out which of the things that a call needs does not go."""
    if isinstance(error, NotPicklable):
        return error
    for what, part in _things_in(value):
        reason = _refusal(part)
        if reason is not None:
            return NotPicklable(what, reason)
    return NotPicklable("The call", safe_text(error))


def _refusal(value: object) -> str | None:
    try:
        buffer = io.BytesIO()
        ScriptPickler(buffer).dump(value)
    except Exception as error:  # noqa: BLE001  # this is the question
        return safe_text(error)
    return None


def _things_in(value: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of a call by name, the smallest first, so that the one to mend is named."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _things_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _things_in(item)
    elif isinstance(value, Attempt):
        task = value.body.task
        for name, given in value.inputs.items():
            yield f"The argument {name!r} of task '{value.name}'", given
        for name, used in _names_used(task.run):
            yield f"The variable {name!r}, which task '{task.name}' uses,", used
        for name, attribute in vars(task).items():
            if name not in ("run", "state_handlers", "trigger"):
                yield f"The attribute {name!r} of task '{task.name}'", attribute
        yield f"The result of task '{task.name}'", value.write_to
    elif callable(value) and _refusal(value) is not None:
        for name, used in _names_used(value):
            yield f"The variable {name!r}", used


def _names_used(function: Callable[..., Any]) -> Iterator[tuple[str, object]]:
    """Yield the variables that a function takes along when it travels by value."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not inspect.isfunction(function):
        return
    used = inspect.getclosurevars(function)
    yield from used.nonlocals.items()
    yield from used.globals.items()
