"""What the imports of a module bind, and whether the package may get another name in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import libcst as cst
from libcst.metadata import ImportAssignment, Scope, ScopeProvider

from tenuto.compat.migration.addresses import joined, today

__all__ = ["ROOTS", "Bindings", "Bound", "address_of", "dotted", "is_root_import"]

ROOTS: Final = ("prefect", "tenuto")
"""A file that is migrated already is looked through for what is still to be done by hand."""


def dotted(node: cst.CSTNode | None) -> str:
    """Return `a.b.c` for a name or a chain of attributes of one, "" for anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute) and (start := dotted(node.value)):
        return f"{start}.{node.attr.value}"
    return ""


def address_of(path: str) -> str | None:
    """Return the address that a dotted path has below the package; None for the paths of other packages."""
    root, _, address = path.partition(".")
    return address if root in ROOTS else None


def is_root_import(assignment: object, name: str) -> bool:
    """Say whether the package's own name is bound, by `import prefect` or `import prefect.engine`."""
    return (
        isinstance(assignment, ImportAssignment)
        and isinstance(assignment.node, cst.Import)
        and any(
            alias.asname is None and f"{dotted(alias.name)}.".startswith(f"{name}.")
            for alias in assignment.node.names
        )
    )


@dataclass(frozen=True, slots=True)
class Bound:
    """What an import binds a name to: the address of today, and whether it says `prefect`."""

    address: str
    is_older: bool


class Bindings(cst.CSTVisitor):
    """
    Finds what imports of either package bind.

    Attributes:
        can_rename: `prefect` can become `tenuto` wherever it is the package. It cannot where a module uses
            `tenuto` for something else, or binds `prefect` otherwise than by import and assignment.
        clients: names of variables that hold a `Client`.
    """

    METADATA_DEPENDENCIES = (ScopeProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.can_rename = True
        self.clients: set[str] = set()
        self._bound: dict[tuple[cst.CSTNode, str], Bound] = {}

    def bound(self, scope: Scope, name: str) -> Bound | None:
        """Return what imports bind a name to; None where they do not, or do not agree."""
        found = {
            self._bound[node, name]
            for assignment in scope[name]
            if (node := getattr(assignment, "node", None)) is not None and (node, name) in self._bound
        }
        return found.pop() if len(found) == 1 else None

    def is_renamed(self, scope: Scope, name: str) -> bool:
        """Say whether a name is the variable that `import prefect` makes, and gets the new name."""
        return (
            name == "prefect"
            and self.can_rename
            and any(is_root_import(assignment, name) for assignment in scope[name])
        )

    def visit_Module(self, node: cst.Module) -> None:
        scopes: Collection[Any] = self.metadata[ScopeProvider].values()
        for scope in {scope for scope in scopes if isinstance(scope, Scope)}:
            self.can_rename = self.can_rename and not any(
                self._is_in_the_way(scope, assignment) for assignment in scope.assignments
            )

    def _is_in_the_way(self, scope: Scope, assignment: Any) -> bool:
        if assignment.name == "tenuto":
            return not is_root_import(assignment, "tenuto")
        # An argument or a function of that name would have to be renamed with the import.
        return (
            assignment.name == "prefect"
            and not isinstance(assignment.node, cst.Name)
            and not is_root_import(assignment, "prefect")
            and any(is_root_import(other, "prefect") for other in scope["prefect"])
        )

    def visit_Import(self, node: cst.Import) -> None:
        for alias in node.names:
            path = dotted(alias.name)
            address = address_of(path)
            if address is None:
                continue
            root = path.partition(".")[0]
            local, meant = (alias.evaluated_alias, today(address)[0]) if alias.asname else (root, "")
            self._bound[node, local or ""] = Bound(meant, root == "prefect")

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        path = dotted(node.module)
        module = address_of(path) if not node.relative else None
        if module is None or isinstance(node.names, cst.ImportStar):
            return
        for alias in node.names:
            name = dotted(alias.name)
            bound = Bound(today(joined(module, name))[0], path.startswith("prefect"))
            self._bound[node, alias.evaluated_alias or name] = bound

    def visit_Assign(self, node: cst.Assign) -> None:
        if isinstance(node.value, cst.Call) and dotted(node.value.func).rpartition(".")[2] == "Client":
            self.clients.update(filter(None, (dotted(target.target) for target in node.targets)))
