"""The base of storage: where the code of flows is kept."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import cloudpickle

from tenuto.exceptions import FlowStorageError
from tenuto.serialization.parts import deserialize_part, register_part
from tenuto.serialization.state import result_from_dict, result_to_dict

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.engine.result.base import Result

__all__ = ["Storage"]


class Storage:
    """
    Where the code of flows is kept.

    Args:
        result: default result of the flows kept here.
        secrets: names of secrets that fetching needs.
        labels: that an agent must have to fetch the flows.
        add_default_labels: whether to add labels of the kind, such as this machine's name; None: as the kind
            does by itself.
        stored_as_script: the flows are in a script, which is run to get them, instead of pickled.

    `flows` maps each flow's name to its location here.
    """

    _default_labels: ClassVar[bool] = False

    def __init__(
        self,
        result: Result | None = None,
        secrets: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        add_default_labels: bool | None = None,
        stored_as_script: bool = False,
    ) -> None:
        for name, value in (("secrets", secrets), ("labels", labels)):
            if isinstance(value, str):
                raise TypeError(f"{name} must be a list of texts, not the text {value!r}.")
        self.result = result
        self.secrets = list(secrets or ())
        self.add_default_labels = self._default_labels if add_default_labels is None else add_default_labels
        self.stored_as_script = stored_as_script
        self._labels = list(labels or ())
        self._described = False
        self.flows: dict[str, str] = {}
        self._pending: dict[str, Flow] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_part("storage", cls.__name__, cls._from_description)

    @property
    def name(self) -> str:
        """The kind of storage: its class's name."""
        return type(self).__name__

    @property
    def default_labels(self) -> list[str]:
        """The labels that `add_default_labels` adds."""
        return []

    @property
    def labels(self) -> list[str]:
        """Those that were given, and the default ones where they are to be added."""
        added = self.default_labels if self.add_default_labels and not self._described else []
        return [*self._labels, *(label for label in added if label not in self._labels)]

    def __contains__(self, flow_name: object) -> bool:
        return flow_name in self.flows

    def add_flow(self, flow: Flow) -> str:
        """
        Take a flow in and return its location; `build` stores it.

        Raises:
            ValueError: if a flow of that name is here already.
        """
        if flow.name in self.flows:
            raise ValueError(
                f"A flow named {flow.name!r} is in this storage already. Give one of them another name."
            )
        location = self._location(flow)
        self.flows[flow.name] = location
        self._pending[flow.name] = flow
        return location

    def build(self) -> Self:
        """Store the flows that were added since the last call; return this storage."""
        for flow in list(self._pending.values()):
            self._store(flow, self.flows[flow.name])
            del self._pending[flow.name]
        return self

    def get_flow(self, flow_name: str) -> Flow:
        """
        Return a flow that is kept here. Its code runs: fetch only what you or your team wrote.

        Raises:
            FlowStorageError: if there is no such flow, or it cannot be fetched.
        """
        if flow_name not in self.flows:
            known = ", ".join(map(repr, self.flows)) or "none"
            raise FlowStorageError(
                f"There is no flow named {flow_name!r} in this {self.name} storage: {known}."
            )
        return self._fetch(flow_name, self.flows[flow_name])

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON data: `type`, its settings, the flows' locations and the labels; no secrets."""
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        settings.pop("result")
        described = {"type": self.name, **copy.deepcopy(settings), "labels": self.labels}
        if self.result is not None:
            described["result"] = result_to_dict(self.result)
        return described

    @staticmethod
    def deserialize(described: Mapping[str, Any]) -> Storage:
        """
        Return the storage that `serialize` described.

        Raises:
            ValueError: for an unknown `type`.
        """
        found = deserialize_part("storage", described)
        assert isinstance(found, Storage)
        return found

    @classmethod
    def _from_description(cls, described: Mapping[str, Any]) -> Storage:
        new = cls.__new__(cls)
        Storage.__init__(new)
        settings = copy.deepcopy(dict(described))
        # The default labels are among them: those of the machine that made it, not of this one.
        new._labels = list(settings.pop("labels", ()))
        new._described = True
        result = settings.pop("result", None)
        settings.pop("type")
        vars(new).update({name: value for name, value in settings.items() if not name.startswith("_")})
        new.result = None if result is None else result_from_dict(result)
        return new

    def __getstate__(self) -> dict[str, Any]:
        # A flow holds its storage: pickling the storage with the flow must not pickle the flow again.
        return {**self.__dict__, "_pending": {}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self.serialize() == other.serialize()

    __hash__ = None  # type: ignore[assignment]  # compared by content: not to be used as a key

    def __repr__(self) -> str:
        return f"<Storage: {self.name}>"

    def _location(self, flow: Flow) -> str:
        raise _data_only(self)

    def _store(self, flow: Flow, location: str) -> None:
        raise _data_only(self)

    def _fetch(self, flow_name: str, location: str) -> Flow:
        raise _data_only(self)


def flow_slug(name: str) -> str:
    """Return a flow's name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "flow"


def flow_from_pickle(data: bytes, place: str) -> Flow:
    """
    Return a pickled flow.

    Raises:
        FlowStorageError: if the bytes hold none.
    """
    from tenuto.core.flow import Flow

    try:
        flow = cloudpickle.loads(data)
    except Exception as error:
        # Unpickling runs code of the file, which may raise anything; the reason is kept.
        raise FlowStorageError(f"The flow at {place!r} cannot be read: {error!r}") from error
    if not isinstance(flow, Flow):
        raise FlowStorageError(f"What is at {place!r} is a {type(flow).__name__}, not a flow.")
    return flow


def flow_from_script(source: str | bytes, path: str, flow_name: str | None) -> Flow:
    """
    Run a script and return its flow of that name, or its only one.

    Raises:
        FlowStorageError: if it fails, or has no such flow.
    """
    from tenuto.core.flow import Flow

    variables: dict[str, Any] = {"__name__": "<flow>", "__file__": path}
    try:
        exec(compile(source, path, "exec"), variables)
    except Exception as error:
        # Any code of the user's; the reason is kept.
        raise FlowStorageError(f"The script {path!r} fails: {error!r}") from error
    return choose_flow([value for value in variables.values() if isinstance(value, Flow)], flow_name, path)


def choose_flow(flows: Iterable[Flow], flow_name: str | None, place: str) -> Flow:
    """
    Return the flow of that name; the only one when None.

    Raises:
        FlowStorageError: if that is not one flow.
    """
    by_name = {flow.name: flow for flow in flows}
    names = ", ".join(map(repr, sorted(by_name))) or "none"
    if flow_name is None and len(by_name) == 1:
        return next(iter(by_name.values()))
    if flow_name not in by_name:
        raise FlowStorageError(f"There is no flow {flow_name or ''!r} in {place!r}. Its flows: {names}.")
    return by_name[flow_name]


def _data_only(storage: Storage) -> FlowStorageError:
    return FlowStorageError(
        f"{storage.name} storage is kept as data only: flows are neither built nor fetched with it here. "
        "Use Local, Module, Git, S3, GCS or Azure storage instead."
    )
