"""
The source text of functions and classes, believed only where it is the text of the code that runs.

A module that was edited after it was imported (a notebook that keeps running) would otherwise be recorded
with source that never ran. So the file is compiled once, and the text of a function counts only when its code
is the one that it compiles to.
"""

from __future__ import annotations

import ast
import linecache
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType

__all__ = ["ModuleSource", "module_source"]

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_modules: dict[str, tuple[int, ModuleSource | None]] = {}


class ModuleSource:
    """One parsed file. All lines are counted from 1."""

    def __init__(self, text: str, filename: str) -> None:
        self.is_cell = not filename.endswith(".py")
        """Say whether this is a notebook's cell: what it names may come from other cells."""
        self._lines = text.splitlines(keepends=True)
        tree = ast.parse(text, filename)
        self._definitions = dict(_definitions(tree, ""))
        self._top = _top_level(tree)
        self._codes: dict[tuple[str, int], CodeType] = {}
        self._ambiguous: set[tuple[str, int]] = set()
        self._collect(compile(tree, filename, "exec", dont_inherit=True))

    def function_text(self, function: FunctionType) -> str | None:
        """Return the text of a function, decorators included, or None when it is not the code that runs."""
        if not self.compiles_to(function.__code__):
            return None
        return self._text_at(function.__code__.co_qualname)

    def class_text(self, cls: type) -> str | None:
        """Return the text of a class, or None when one of its methods is not the code that runs."""
        node = self._definitions.get(cls.__qualname__)
        if not isinstance(node, ast.ClassDef):
            return None
        for function in functions_of(cls):
            if function.__code__.co_qualname.startswith(f"{cls.__qualname__}.") and not self.compiles_to(
                function.__code__
            ):
                return None
        return self._text_of(node)

    def top_level_text(self, name: str) -> str | None:
        """Return the text of all statements of the module's top level that bind a name, imports excepted."""
        nodes = self._top.get(name)
        return "".join(map(self._text_of, nodes)) if nodes else None

    def compiles_to(self, code: CodeType) -> bool:
        """Say whether the text compiles to exactly that code."""
        key = (code.co_qualname, code.co_firstlineno)
        return key not in self._ambiguous and self._codes.get(key) == code

    def _text_at(self, qualname: str) -> str | None:
        node = self._definitions.get(qualname)
        return None if node is None else self._text_of(node)

    def _text_of(self, node: ast.stmt) -> str:
        decorators = getattr(node, "decorator_list", ())
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        return textwrap.dedent("".join(self._lines[first - 1 : node.end_lineno]))

    def _collect(self, code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                key = (constant.co_qualname, constant.co_firstlineno)
                if key in self._codes:  # Two lambdas of one line.
                    self._ambiguous.add(key)
                self._codes[key] = constant
                self._collect(constant)


def module_source(filename: str) -> ModuleSource | None:
    """
    Return the parsed source of a file or notebook cell, or None where there is none.

    Parsed again when it has changed.
    """
    linecache.checkcache(filename)
    text = "".join(linecache.getlines(filename))
    key = hash(text)
    known = _modules.get(filename)
    if known is None or known[0] != key:
        known = _modules[filename] = (key, _parse(text, filename))
    return known[1]


def _parse(text: str, filename: str) -> ModuleSource | None:
    if not text:
        return None
    try:
        return ModuleSource(text, filename)
    except (SyntaxError, ValueError, RecursionError):  # Edited into something that is no Python.
        return None


def functions_of(cls: type) -> Iterator[FunctionType]:
    """Return the functions in a class body, also those below staticmethod, classmethod and property."""
    for value in vars(cls).values():
        for inner in (value, getattr(value, "__func__", None), getattr(value, "fget", None)):
            if isinstance(inner, FunctionType):
                yield inner


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    """
    Yield (qualified name, node) of each function and class.

    A name that is defined twice yields its last one last.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            yield from _definitions(child, f"{prefix}{child.name}.<locals>.")
        else:
            yield from _definitions(child, prefix)


def _top_level(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Find what binds each name at the top level, also inside of `if`, `try`, `with` and `for` there."""
    found: dict[str, list[ast.stmt]] = {}
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, _Definition):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for name in _bound_names(node):
                found.setdefault(name, []).append(node)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            blocks = (
                getattr(node, part, ()) for part in ("body", "orelse", "finalbody", "handlers", "cases")
            )
            waiting.extend(reversed([child for block in blocks for child in block]))
    return found


def _bound_names(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}
