"""
Fingerprints of tasks' code: what has to be the same for an old result to be this code's result.

A fingerprint is the SHA-256 of a document (canonical JSON) that holds the source text of the task and, one
level deep, digests of the functions, classes and constants of the same module that it names; so a changed
fingerprint can be explained. It is the text that counts: a changed comment inside of a function changes its
fingerprint, one beside it does not.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import msgspec

from tenuto._base.digests import digest
from tenuto._base.importtools import import_path
from tenuto._base.texts import clean_text
from tenuto.journal.sources import functions_of, module_source

if TYPE_CHECKING:
    from tenuto.core.task import Task

__all__ = ["CodeFingerprint", "explain", "fingerprint"]

_IMMUTABLE = (str, bytes, int, float, complex, bool, type(None), tuple, frozenset)
_encoder = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class CodeFingerprint:
    """A task's code."""

    digest: str
    """Hex SHA-256 of the document: its name among the objects of the home folder."""
    document: bytes
    """Canonical JSON: `source` (or `bytecode`, `class`, `version`), `names`, `constants`, all that counts."""


_known: weakref.WeakKeyDictionary[Any, CodeFingerprint] = weakref.WeakKeyDictionary()
"""By function: a flow of ten thousand tasks has few of them."""


def fingerprint(task: Task) -> CodeFingerprint:
    """
    Return the fingerprint of a task's code.

    - With `version=`, only that and the task's type count: its author says when results are to be made anew.
    - A function counts with its source, its defaults, the values that it closes over, and what it names in
      its module.
    - A class counts with the source of all of its classes outside of Tenuto, what their methods name, and the
      instance's own attributes as far as they have a digest.
    - Where there is no source, or the file is not what runs, the bytecode counts (it differs between versions
      of Python).
    """
    run = task.run
    is_function = task.version is None and isinstance(run, FunctionType)
    known = _known.get(run) if is_function else None
    if known is None:
        document = _encoder.encode(_cleaned(_describe(task)))
        known = CodeFingerprint(hashlib.sha256(document).hexdigest(), document)
        if is_function:
            _known[run] = known
    return known


def explain(old_document: bytes, new_document: bytes) -> str:
    """Say what differs between two documents, such as "helper 'clean' changed"; empty when nothing does."""
    try:
        old, new = msgspec.json.decode(old_document), msgspec.json.decode(new_document)
    except msgspec.DecodeError:
        return "what it was is not known any more"
    if not isinstance(old, dict) or not isinstance(new, dict):
        return "what it was is not known any more"
    if old.get("version") != new.get("version"):
        return f"its version changed from {old.get('version')!r} to {new.get('version')!r}"
    found = []
    if any(old.get(part) != new.get(part) for part in ("source", "bytecode", "class", "type")):
        found.append("its own source changed")
    for part, noun in _NOUNS.items():
        found.extend(_differences(old.get(part) or {}, new.get(part) or {}, noun))
    return "; ".join(found)


_NOUNS = {
    "names": "helper",
    "bases": "base class",
    "constants": "constant",
    "closure": "enclosed variable",
    "defaults": "default of argument",
    "attributes": "attribute",
}


def _differences(old: dict[str, str], new: dict[str, str], noun: str) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"{noun} {name!r} is gone"
        elif name not in old:
            yield f"{noun} {name!r} is new"
        elif old[name] != new[name]:
            yield f"{noun} {name!r} changed"


def _describe(task: Task) -> dict[str, Any]:
    if task.version is not None:
        return {"version": str(task.version), "type": _type_name(type(task))}
    run: Any = task.run
    if inspect.ismethod(run) and run.__self__ is task:
        return _describe_instance(task)
    function = inspect.unwrap(run) if callable(run) else run
    if isinstance(function, types.MethodType):
        function = function.__func__
    if not isinstance(function, FunctionType):
        return _describe_callable(function)
    data = _describe_function(function)
    if isinstance(run, FunctionType) and run is not function:
        data["names"][f"{run.__qualname__} (decorator)"] = _sha(_function_text(run))
    return data


def _describe_callable(target: Any) -> dict[str, Any]:
    """Describe a builtin, or an instance with `__call__` (functools.partial, a numpy ufunc)."""
    if isinstance(target, type) or inspect.isbuiltin(target):
        name = f"{getattr(target, '__module__', None)}.{getattr(target, '__qualname__', None)}"
        return {"type": name}
    data = _describe_class(type(target))
    if type(target).__module__ == "functools" and hasattr(target, "func"):
        inner = target.func
        data["names"] = {getattr(inner, "__name__", "func"): _sha(_text_or_bytecode(inner))}
        data["attributes"] = {"args": digest(target.args) or "", "keywords": digest(target.keywords) or ""}
    else:
        data["attributes"] = _digests_of(getattr(target, "__dict__", {}))
    return data


def _describe_function(function: FunctionType) -> dict[str, Any]:
    source = module_source(function.__code__.co_filename)
    text = source.function_text(function) if source is not None else None
    data: dict[str, Any] = (
        {"source": text} if text is not None else {"bytecode": _bytecode_sha(function.__code__)}
    )
    data["names"], data["constants"] = _named([function], skip=function.__name__)
    data["defaults"] = _defaults(function)
    data["closure"] = _closure(function)
    return data


def _describe_instance(task: Task) -> dict[str, Any]:
    data = _describe_class(type(task))
    own = {name: value for name, value in vars(task).items() if name not in _standard_attributes()}
    data["attributes"] = _digests_of(own)
    return data


def _describe_class(cls: type) -> dict[str, Any]:
    """Describe a class; those of Tenuto go by name and version, with which alone their source changes."""
    classes = [one for one in cls.__mro__ if not _is_tenutos(one) and one.__module__ != "builtins"]
    if not classes:
        return {"type": _type_name(cls)}
    data: dict[str, Any] = {"type": _type_name(cls)}
    texts = {_type_name(one): _class_text(one) for one in classes}
    data["class"] = texts.pop(_type_name(cls), None)
    data["bases"] = {name: _sha(text) for name, text in texts.items()}
    functions = [function for one in classes for function in functions_of(one)]
    data["names"], data["constants"] = _named(functions, skip=cls.__name__)
    return data


def _named(functions: list[FunctionType], skip: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return digests of what functions name in their own module: functions and classes, and constants."""
    names: dict[str, str] = {}
    constants: dict[str, str] = {}
    for function in functions:
        source = module_source(function.__code__.co_filename)
        space = function.__globals__
        for name in _global_names(function.__code__):
            if name == skip or name not in space or name in names or name in constants:
                continue
            value = space[name]
            text = source.top_level_text(name) if source is not None else None
            if _is_defined_like(value, function):
                names[name] = _sha(_text_or_bytecode(value))
            elif text is not None:
                # A task or another object made in the module: the statement that makes it, and a constant's
                # value besides, since the statement may read the environment.
                fixed = (digest(value) or "") if isinstance(value, _IMMUTABLE) else ""
                (names if callable(value) else constants)[name] = _sha(f"{text}\0{fixed}")
            elif not isinstance(value, types.ModuleType) and not callable(value) and name not in _IMPLICIT:
                # Another notebook cell, or a module without source.
                found = digest(value)
                if found is not None and _is_own_value(name, source):
                    constants[name] = found
    return names, constants


_IMPLICIT = frozenset(
    {"__name__", "__file__", "__doc__", "__package__", "__spec__", "__loader__", "__builtins__"}
)


def _is_own_value(name: str, source: Any) -> bool:
    """
    Say whether a module made a value that no statement in its text binds.

    In a file's module it was imported; a notebook's may come from another cell.
    """
    return source is None or source.is_cell


def _is_defined_like(value: Any, function: FunctionType) -> bool:
    """Say whether a value is a function or class that the function's own module defines."""
    if not isinstance(value, type | FunctionType):
        return False
    return value.__module__ == function.__module__ and "<locals>" not in value.__qualname__


def _text_or_bytecode(value: Any) -> str:
    if isinstance(value, type):
        return _class_text(value)
    inner = inspect.unwrap(value) if callable(value) else value
    if not isinstance(inner, FunctionType):
        kind = type(inner).__qualname__
        return f"{getattr(inner, '__module__', '')}.{getattr(inner, '__qualname__', kind)}"
    if inner is not value and isinstance(value, FunctionType):
        return f"{_function_text(inner)}\0{_function_text(value)}"
    return _function_text(inner)


def _function_text(function: FunctionType) -> str:
    source = module_source(function.__code__.co_filename)
    text = source.function_text(function) if source is not None else None
    defaults = _encoder.encode(_defaults(function)).decode()
    return f"{text or _bytecode_sha(function.__code__)}\0{defaults}"


def _class_text(cls: type) -> str:
    functions = list(functions_of(cls))
    for filename in {function.__code__.co_filename for function in functions} or _file_of(cls):
        source = module_source(filename)
        text = source.class_text(cls) if source is not None else None
        if text is not None:
            return text
    return _sha("\0".join(f"{one.__qualname__}\0{_bytecode_sha(one.__code__)}" for one in functions))


def _file_of(cls: type) -> set[str]:
    try:
        return {inspect.getfile(cls)}
    except (OSError, TypeError):
        return set()


def _global_names(code: CodeType) -> list[str]:
    """Return the names, not of attributes, that a function and those inside of it look up in the module."""
    names = [
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    ]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.extend(_global_names(constant))
    return sorted(set(names))


def _bytecode_sha(code: CodeType) -> str:
    """Return the digest of code without file name and line numbers."""
    parts = [
        code.co_name,
        code.co_code.hex(),
        str(code.co_flags),
        repr(code.co_names),
        repr(code.co_varnames),
    ]
    parts.extend(
        _bytecode_sha(constant) if isinstance(constant, CodeType) else digest(constant) or repr(constant)
        for constant in code.co_consts
    )
    return _sha("\0".join(parts))


def _defaults(function: FunctionType) -> dict[str, str]:
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    pairs = dict(zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True))
    return _digests_of({**pairs, **(function.__kwdefaults__ or {})})


def _closure(function: FunctionType) -> dict[str, str]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:  # Not yet bound.
            continue
        is_code = isinstance(value, type | FunctionType) and value is not function
        found[name] = _sha(_text_or_bytecode(value)) if is_code else _digest_or_type(value)
    return found


def _digests_of(values: dict[str, Any]) -> dict[str, str]:
    return {str(name): _digest_or_type(value) for name, value in values.items()}


def _digest_or_type(value: Any) -> str:
    if isinstance(value, type | FunctionType):
        return import_path(value)
    return digest(value) or _type_name(type(value))


def _standard_attributes() -> frozenset[str]:
    """Return the attributes that every task has: they say how it is run, not what it computes."""
    from tenuto.core.task import Task

    return frozenset(vars(Task(name="task"))) | {"auto_generated"}


def _is_tenutos(cls: type) -> bool:
    return cls.__module__ == "tenuto" or cls.__module__.startswith("tenuto.")


def _type_name(cls: type) -> str:
    if not _is_tenutos(cls):
        # Where a script is run from decides its module's name; it says nothing about the code.
        return cls.__qualname__ if cls.__module__ in ("__main__", "<flow>") else import_path(cls)
    from tenuto import __version__

    return f"{import_path(cls)} {__version__}"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _cleaned(data: Any) -> Any:
    """Return the document's texts in a form that UTF-8 can carry."""
    if isinstance(data, dict):
        return {clean_text(name): _cleaned(item) for name, item in data.items()}
    return clean_text(data) if isinstance(data, str) else data
