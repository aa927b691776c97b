"""Who may do what: roles and permissions (reliability 5)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["ROLES", "Permission", "Principal", "Role"]


class Permission(enum.StrEnum):
    """What a route asks for."""

    PUBLIC = "public"
    """Nothing: what does not change and tells nothing of the runs."""
    LEASE = "lease"
    """The token of the run's lease, which the store compares in the transaction of the write."""
    READ = "read"
    RUN = "run"
    """Start, cancel, pause, restart."""
    EDIT = "edit"
    """Register flows, change schedules and settings of flows."""
    WORK = "work"
    """Claim runs and announce those that began elsewhere."""
    ADMIN = "admin"


class Role(enum.StrEnum):
    """What a key is for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"
    AGENT = "agent"


ROLES: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.RUN}),
    Role.EDITOR: frozenset({Permission.READ, Permission.RUN, Permission.EDIT}),
    Role.ADMIN: frozenset(
        {Permission.READ, Permission.RUN, Permission.EDIT, Permission.WORK, Permission.ADMIN}
    ),
    Role.AGENT: frozenset({Permission.WORK}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """
    Who makes a request.

    Attributes:
        name: shown beside what they change.
        role: says what they may.
        key_id: of their key; empty for the key of the server's own machine.
        session: digest of the token of their browser's session; empty for programs, which show a key.
    """

    name: str
    role: Role
    key_id: str = ""
    session: bytes = b""

    def may(self, permission: Permission) -> bool:
        """Say whether they may do what asks for a permission."""
        return permission in ROLES[self.role]
