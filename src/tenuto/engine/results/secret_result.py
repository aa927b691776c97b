"""Results of secrets: never stored, asked for again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Self

from tenuto.engine.result.base import Result

if TYPE_CHECKING:
    from tenuto.core.task import Task

__all__ = ["SecretResult"]


class SecretResult(Result):
    """
    Holds a secret while a run needs it. Its location is the secret's name.

    Args:
        secret_task: gives the value when it is run.
        **kwargs: those of `Result`, but for `serializer`.

    Raises:
        ValueError: for a serializer.
    """

    secret_task: Task

    def __init__(self, secret_task: Task, **kwargs: Any) -> None:
        if "serializer" in kwargs:
            raise ValueError("A SecretResult stores nothing, so that it takes no serializer.")
        kwargs.setdefault("location", secret_task.name)
        super().__init__(**kwargs)
        self.secret_task = secret_task

    def read(self, location: str) -> Self:
        """Return a copy with the secret's present value: the secret task runs again."""
        new = self.copy()
        # A task of its own name needs none; its `run` may have no such argument.
        own = location == self.secret_task.name
        new.value = self.secret_task.run() if own else self.secret_task.run(name=location)
        new.location = location
        return new

    def exists(self, location: str, **kwargs: Any) -> bool:
        """Say yes: whether there is such a secret shows when it is read."""
        return True

    def write(self, /, value_: Any, **kwargs: Any) -> NoReturn:
        """
        Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError("Secrets are never written.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: ****>"
