"""
Python source of the Prefect 1 API as source for Tenuto.

The source is parsed to find out what to change and where; the changes are then made in the text itself, so
that everything beside them stays as it is.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Sequence
from itertools import zip_longest
from typing import Final

import libcst as cst
from libcst.metadata import (
    ByteSpanPositionProvider,
    CodeSpan,
    MetadataWrapper,
    PositionProvider,
    Scope,
    ScopeProvider,
)

from tenuto.compat.migration.addresses import below, joined, today
from tenuto.compat.migration.advice import CLIENT_METHODS, KEYWORDS, missing_advice
from tenuto.compat.migration.bindings import ROOTS, Bindings, address_of, dotted
from tenuto.compat.migration.findings import Finding, Migrated
from tenuto.compat.migration.settings import (
    COMMAND,
    COMMAND_IN_SHELL,
    REQUIREMENT,
    VARIABLE,
    command_advice,
    setting_advice,
    variable_today,
)

__all__ = ["migrate_python"]

_RELEVANT = re.compile("|".join(ROOTS), re.IGNORECASE)
_PATH = re.compile(r"prefect((?:\.[A-Za-z_]\w*)*)")
_PATH_IN_ANNOTATION = re.compile(r"(?<![\w.])prefect((?:\.[A-Za-z_]\w*)+)")
_RUNS_COMMANDS: Final = {
    "os.popen",
    "os.system",
    "shlex.split",
    *(f"subprocess.{name}" for name in ("Popen", "call", "check_call", "check_output", "getoutput", "run")),
}
_TAKES_PATHS: Final = {"getLogger", "import_module", "importorskip", "patch", "setattr"}
_TAKES_VARIABLES: Final = {"dict", "update"}


def migrate_python(text: str) -> Migrated:
    """
    Return Python source with its imports, names, variables and commands as Tenuto has them.

    Source that cannot be parsed is handed back as it is, with one finding.
    """
    if not _RELEVANT.search(text):
        return Migrated(text)
    try:
        # Python's own parser first: libcst's takes the process with it where code is nested too deeply.
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
        module = cst.parse_module(text)
        if lost := _line_that_is_lost(text, module.code):
            return _untouched(text, lost, "a form feed, or another character, would be lost here")
        wrapper = MetadataWrapper(module)
        wrapper.visit(bindings := Bindings())
        wrapper.visit(migration := _Migration(text, bindings))
    except SyntaxError as error:
        return _untouched(text, error.lineno or 1, f"this Python cannot read it: {error.msg}")
    except cst.ParserSyntaxError as error:
        return _untouched(text, error.raw_line, "libcst cannot read it")
    except (RecursionError, MemoryError):
        return _untouched(text, 1, "the code is nested too deeply")
    return Migrated(migration.migrated_text(), tuple(sorted(set(migration.findings))))


def _untouched(text: str, line: int, what: str) -> Migrated:
    return Migrated(text, (Finding(line, what, "Correct that, or migrate the file by hand."),))


def _line_that_is_lost(text: str, parsed: str) -> int:
    """
    Return the first line that libcst has not kept as it is; 0 when positions after parsing hold in the text.

    They hold where only blank lines and comments at the end are lost.
    """
    lines = text.split("\n")
    pairs = enumerate(zip_longest(lines, parsed.split("\n")))
    first = next((index for index, (line, other) in pairs if line != other), None)
    if first is None or all(re.fullmatch(r"\s*(#.*)?", line) for line in lines[first:]):
        return 0
    return first + 1


class _Migration(cst.CSTVisitor):
    """Goes through a module, notes what to change in its text, and what cannot be carried over."""

    METADATA_DEPENDENCIES = (ByteSpanPositionProvider, PositionProvider, ScopeProvider)

    def __init__(self, text: str, bindings: Bindings) -> None:
        super().__init__()
        self.findings: list[Finding] = []
        self._source = text.encode()
        self._bindings = bindings
        self._edits: dict[tuple[int, int], str] = {}
        self._done: set[cst.CSTNode] = set()
        self._annotations = 0

    def migrated_text(self) -> str:
        """Return the text with all changes made."""
        parts, position = [], 0
        for (start, end), text in sorted(self._edits.items()):
            parts += [self._source[position:start], text.encode()]
            position = end
        return b"".join([*parts, self._source[position:]]).decode()

    # -------------------------------------------------------------------------------------- import statements

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            path = dotted(alias.name)
            address = address_of(path)
            if address is None:
                continue
            new = today(address)[0]
            self._judge(alias.name, path, new)
            if not path.startswith("prefect"):
                continue
            keeps_name = alias.asname is None and not self._bindings.can_rename
            self._replace(alias.name, "tenuto as prefect" if keeps_name else joined("tenuto", new))
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        path = dotted(node.module)
        address = address_of(path) if not node.relative else None
        if node.module is None or address is None:
            return False
        if isinstance(node.names, cst.ImportStar):
            new = today(address)[0]
            self._judge(node.module, path, new)
        else:
            new = self._imported_names(path, address, node.names)
        if path.startswith("prefect"):
            self._replace(node.module, joined("tenuto", new))
        return False

    def _imported_names(self, path: str, module: str, aliases: Collection[cst.ImportAlias]) -> str:
        """Note what becomes of the names of `from path import ...`; return where they are today."""
        moved = {alias: today(joined(module, dotted(alias.name)))[0] for alias in aliases}
        modules = {new.rpartition(".")[0] for new in moved.values()}
        if len(modules) > 1 or not path.startswith("prefect"):
            # What went to several modules stays together, which works where the older address does.
            moved = {alias: joined(module, dotted(alias.name)) for alias in aliases}
            modules = {module}
        for alias, new in moved.items():
            old = dotted(alias.name)
            self._judge(alias.name, f"{path}.{old}", new)
            name = new.rpartition(".")[2]
            if name != old:
                self._replace(alias.name, name if alias.asname else f"{name} as {old}")
        return modules.pop()

    # -------------------------------------------------------------------------------------------------- names

    def visit_Name(self, node: cst.Name) -> None:
        if node.value == "prefect" and self._bindings.is_renamed(self._scope(node), node.value):
            self._replace(node, "tenuto")

    def visit_Global(self, node: cst.Global) -> bool:
        return self._declared(node)

    def visit_Nonlocal(self, node: cst.Nonlocal) -> bool:
        return self._declared(node)

    def _declared(self, node: cst.Global | cst.Nonlocal) -> bool:
        for item in node.names:
            if self._bindings.is_renamed(self._scope(node), item.name.value):
                self._replace(item.name, "tenuto")
        return False

    def visit_Param(self, node: cst.Param) -> bool:
        for part in (node.annotation, node.default):
            if part is not None:
                part.visit(self)
        return False

    def visit_Arg(self, node: cst.Arg) -> bool:
        node.value.visit(self)
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        base, attributes = _chain(node)
        base.visit(self)
        if not isinstance(base, cst.Name):
            if isinstance(base, cst.Call) and dotted(base.func).rpartition(".")[2] == "Client":
                self._judge_client(attributes[0])
            return False
        bound = self._bindings.bound(self._scope(base), base.value)
        if bound is not None:
            self._attributes(base, bound.address, bound.is_older, attributes)
        elif base.value in self._bindings.clients:
            self._judge_client(attributes[0])
        return False

    def _attributes(
        self, base: cst.Name, address: str, is_older: bool, attributes: Sequence[cst.Name]
    ) -> None:
        """Note what becomes of attributes of a name that stands for an address."""
        old = joined(address, *(attribute.value for attribute in attributes))
        path = joined("prefect" if is_older else "tenuto", old)
        new, moved = today(old)
        here = below(new, address)
        if is_older and moved and here is not None:
            count = moved - (address.count(".") + 1 if address else 0)
            start, end = self._span(base)[1], self._span(attributes[count - 1])[1]
            kept = "".join(f".{attribute.value}" for attribute in attributes[count:])
            # Not where comments or brackets stand between the names.
            if re.fullmatch(rb"[\w.\s\\]*", self._source[start:end]):
                self._edits[start, end] = f".{here}".removesuffix(kept)
                old = new
        self._judge(attributes[-1], path, old)
        if old.startswith("config."):
            self._judge_setting(attributes[-1], path, old.removeprefix("config."))

    # ---------------------------------------------------------------------------------------- calls and texts

    def visit_Call(self, node: cst.Call) -> None:
        scope, path = self._scope(node.func), dotted(node.func)
        leaf = path.rpartition(".")[2]
        bound = self._bindings.bound(scope, path.partition(".")[0]) if path else None
        if bound is not None:
            meant = joined(bound.address, path.partition(".")[2]).rpartition(".")[2]
            self._judge_keywords(node, meant)
            if meant == "ShellTask":
                self._commands([arg.value for arg in node.args if _named(arg, "command")])
        qualified = {name.name for name in scope.get_qualified_names_for(path)} if path else set()
        if qualified & _RUNS_COMMANDS:
            self._commands([arg.value for arg in node.args[:1]])
        if leaf in _TAKES_PATHS and node.args and isinstance(node.args[0].value, cst.SimpleString):
            self._path(node.args[0].value, is_logger=leaf == "getLogger")
        if leaf in _TAKES_VARIABLES:
            for name in filter(None, (arg.keyword for arg in node.args)):
                if VARIABLE.fullmatch(name.value):
                    self._variable(name, self._span(name)[0], name.value)

    def visit_Expr(self, node: cst.Expr) -> bool:
        # A docstring, or a text that nobody reads.
        return not isinstance(node.value, cst.SimpleString | cst.ConcatenatedString)

    def visit_Annotation(self, node: cst.Annotation) -> None:
        self._annotations += 1

    def leave_Annotation(self, original_node: cst.Annotation) -> None:
        self._annotations -= 1

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        if self._annotations:
            self._annotation(node)
        elif node not in self._done:
            self._text(node)

    def visit_FormattedStringText(self, node: cst.FormattedStringText) -> None:
        if node not in self._done:
            self._text(node)

    def _text(self, node: cst.SimpleString | cst.FormattedStringText) -> None:
        """Change a text that is a variable or an assignment of one; list what only may be meant for us."""
        start, text = self._content(node)
        if found := re.match(rf"{VARIABLE.pattern}(?==|$)", text):
            self._variable(node, start, found[0])
        elif found := VARIABLE.search(text):
            new = variable_today(found[0])
            self._find(node, f"a text names {found[0]}", f"Write {new} there; the older name is read, too.")
        elif (found := _PATH.fullmatch(text)) and found[1]:
            new = today(found[1][1:])[0]
            if missing_advice(new) is None:
                self._find(node, f"a text is {text}", f"Write tenuto.{new} if it is a path to import.")
        elif COMMAND.match(text.lstrip()):
            self._find(node, "a text begins like a command of prefect", "Write tenuto there if it is run.")
        elif REQUIREMENT.match(text) and text != "prefect":
            self._find(node, "prefect is required here", "Require tenuto in its place.")

    def _annotation(self, node: cst.SimpleString) -> None:
        start, text = self._content(node)
        if self._bindings.is_renamed(self._scope(node), "prefect"):
            for found in _PATH_IN_ANNOTATION.finditer(text):
                self._in_text(start, text, found.span(), joined("tenuto", today(found[1][1:])[0]))

    def _path(self, node: cst.SimpleString, *, is_logger: bool) -> None:
        """Change a text that is the path of something to import, or the name of a logger."""
        start, text = self._content(node)
        found = _PATH.fullmatch(text)
        if found is None:
            return
        self._done.add(node)
        address = found[1][1:]
        new = address if is_logger else today(address)[0]
        if not is_logger:
            self._judge(node, text, new)
        self._in_text(start, text, found.span(), joined("tenuto", new))

    def _commands(self, arguments: Sequence[cst.BaseExpression]) -> None:
        """Change the command that is run by the first argument."""
        for value in arguments[:1]:
            first = _leftmost(value)
            if isinstance(first, cst.List | cst.Tuple):
                self._command_words([element.value for element in first.elements])
            elif isinstance(first, cst.SimpleString | cst.FormattedStringText):
                self._command_line(first)

    def _command_words(self, elements: Sequence[cst.BaseExpression]) -> None:
        texts = [one if isinstance(one, cst.SimpleString) else None for one in elements]
        words = [self._content(text)[1] if text else "" for text in texts]
        for index, (text, word) in enumerate(zip(texts, words, strict=True)):
            if text is not None and word == "prefect" and (index == 0 or words[index - 1] == "-m"):
                start, _ = self._content(text)
                self._in_text(start, word, (0, len(word)), "tenuto")
                self._judge_command(text, words[index + 1 :])

    def _command_line(self, node: cst.SimpleString | cst.FormattedStringText) -> None:
        self._done.add(node)
        start, text = self._content(node)
        for found in COMMAND_IN_SHELL.finditer(text):
            self._in_text(start, text, found.span("name"), "tenuto")
            self._judge_command(node, text[found.end() :].split())
        for found in VARIABLE.finditer(text):
            self._variable(node, start + len(text[: found.start()].encode()), found[0])

    def _variable(self, node: cst.CSTNode, start: int, name: str) -> None:
        self._edits[start, start + len(name.encode())] = variable_today(name)
        self._judge_setting(node, name, name)

    # ---------------------------------------------------------------------------- what cannot be carried over

    def _judge(self, node: cst.CSTNode, path: str, address: str) -> None:
        """List a name that is not there today: `path` as it is written, `address` as it is looked up."""
        if path == "prefect.__version__":
            self._find(node, f"{path} becomes Tenuto's version", "Compare it with releases of Tenuto.")
        elif (advice := missing_advice(address)) is not None:
            new, moved = today(address)
            if moved and missing_advice(new) is None:
                advice = f"It is tenuto.{new} now: import it by a statement of its own."
            self._find(node, f"{path} is not part of Tenuto", advice)

    def _judge_client(self, method: cst.Name) -> None:
        if advice := CLIENT_METHODS.get(method.value):
            self._find(method, f"Client.{method.value} is not part of Tenuto", advice)

    def _judge_keywords(self, node: cst.Call, called: str) -> None:
        for name in filter(None, (arg.keyword for arg in node.args)):
            if advice := KEYWORDS.get(called, {}).get(name.value):
                self._find(name, f"{called}({name.value}=...) is not part of Tenuto", advice)

    def _judge_setting(self, node: cst.CSTNode, path: str, setting: str) -> None:
        if advice := setting_advice(setting):
            self._find(node, f"the setting {path} means nothing to Tenuto", advice)

    def _judge_command(self, node: cst.CSTNode, words: Sequence[str]) -> None:
        if advice := command_advice(words):
            self._find(node, f"the command prefect {' '.join(words[:2])} is not part of Tenuto", advice)

    # ------------------------------------------------------------------------------------------------ helpers

    def _find(self, node: cst.CSTNode, what: str, instead: str) -> None:
        line: int = self.get_metadata(PositionProvider, node).start.line
        self.findings.append(Finding(line, what, instead))

    def _scope(self, node: cst.CSTNode) -> Scope:
        scope = self.get_metadata(ScopeProvider, node)
        assert isinstance(scope, Scope), node
        return scope

    def _span(self, node: cst.CSTNode) -> tuple[int, int]:
        span: CodeSpan = self.get_metadata(ByteSpanPositionProvider, node)
        return span.start, span.start + span.length

    def _content(self, node: cst.SimpleString | cst.FormattedStringText) -> tuple[int, str]:
        """Return where the content of a text begins, and the content as it is written."""
        start, _ = self._span(node)
        if isinstance(node, cst.SimpleString):
            return start + len(node.prefix) + len(node.quote), node.raw_value
        return start, node.value

    def _replace(self, node: cst.CSTNode, text: str) -> None:
        self._edits[self._span(node)] = text

    def _in_text(self, start: int, content: str, span: tuple[int, int], text: str) -> None:
        """Replace a part of a content that begins at `start`."""
        first, last = (start + len(content[:position].encode()) for position in span)
        self._edits[first, last] = text


def _chain(node: cst.Attribute) -> tuple[cst.BaseExpression, list[cst.Name]]:
    """Return what `base.one.two` begins with, and the names of its attributes."""
    attributes = []
    base: cst.BaseExpression = node
    while isinstance(base, cst.Attribute):
        attributes.append(base.attr)
        base = base.value
    return base, attributes[::-1]


def _leftmost(node: cst.BaseExpression) -> cst.BaseExpression | cst.FormattedStringText:
    """Return what an expression begins with: the first of texts or lists that are put together."""
    if isinstance(node, cst.ConcatenatedString | cst.BinaryOperation):
        return _leftmost(node.left)
    if isinstance(node, cst.FormattedString) and node.parts:
        first = node.parts[0]
        return first if isinstance(first, cst.FormattedStringText) else node
    return node


def _named(arg: cst.Arg, name: str) -> bool:
    return arg.keyword is None or arg.keyword.value == name
