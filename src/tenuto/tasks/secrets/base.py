"""The base of secret tasks, and the one that reads secrets by `tenuto.client.Secret`."""

from typing import Any

from tenuto.client.secrets import Secret
from tenuto.core.task import Task
from tenuto.engine.results.secret_result import SecretResult

__all__ = ["PrefectSecret", "SecretBase", "TenutoSecret"]


class SecretBase(Task):
    """
    A task whose value is a secret: never persisted, and fetched again when a run is continued.

    Subclass it and override `run(self, name=None)`.

    Raises:
        ValueError: if a `result` is given; secrets have one of their own, which writes nothing.
    """

    is_secret = True

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("result") is not None:
            raise ValueError("Result types for Secrets are not configurable.")
        kwargs["checkpoint"] = False
        super().__init__(**kwargs)
        self.result = SecretResult(self)


class PrefectSecret(SecretBase):
    """
    Fetches the secret `name` when the flow runs.

    Args:
        name: the secret, and the name of the task; it may also be given by an upstream task.
        **kwargs: those of `Task`, but for `result`.
    """

    secret_name: str | None

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        self.secret_name = name
        if name is not None:
            kwargs["name"] = name
        super().__init__(**kwargs)

    def run(self, name: str | None = None) -> Any:
        """
        Return the value of the secret.

        Raises:
            ValueError: if no name is given here or to the constructor, or there is no such secret.
        """
        return Secret(self._chosen(name)).get()

    def _chosen(self, name: str | None) -> str:
        chosen = name if name is not None else self.secret_name
        if chosen is None:
            raise ValueError("A secret name must be provided.")
        return chosen


TenutoSecret = PrefectSecret
