"""What the engine calls to record a run: events, kept results, graph and sources. It stops no user code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tenuto._base.files import ensure_private_dir, told
from tenuto._base.logging import get_logger
from tenuto._base.masking import mask
from tenuto.configuration import config
from tenuto.journal import retention
from tenuto.journal.event import Event, Header, Kind
from tenuto.journal.home import Home
from tenuto.journal.keeper import Keeper
from tenuto.journal.logs import RunLogHandler
from tenuto.journal.process import distributions_sha256, this_process
from tenuto.journal.recorded import recorded_value, recorded_values
from tenuto.journal.settings import RecordSettings
from tenuto.journal.states import FINAL_STATES, SUCCESSFUL_STATES
from tenuto.journal.writer import JournalWriter

__all__ = ["Recorder"]


class Recorder:
    """
    The record of one run and epoch. Made by `start`.

    All methods may be called whether or not the run is recorded, and none raises for the disk. The first
    failed write ends the record: one WARNING, an `incomplete` event if there is room for it, and the run goes
    on.

    Attributes:
        flow_run_id: the run's id.
        folder: the run's folder; None when the run is not recorded.
        keeper: keeps the results of the run's tasks.
    """

    def __init__(
        self,
        flow_run_id: str,
        home: Home,
        writer: JournalWriter | None,
        settings: RecordSettings,
        epoch: int = 1,
    ) -> None:
        self.flow_run_id = flow_run_id
        self.epoch = epoch
        self.home = home
        self.settings = settings
        self.folder = home.run_folder(flow_run_id) if writer is not None else None
        self.keeper = Keeper(home, flow_run_id, epoch, settings, is_open=writer is not None)
        self._writer = writer
        self._keeps = writer is not None and settings.keep_results != "never"
        self._final_state = ""
        self._warned = False
        self._log_handler: RunLogHandler | None = None

    @classmethod
    def start(
        cls,
        home: Path | str,
        *,
        flow_run_id: str,
        name: str,
        flow: str,
        project: str = "",
        source_path: str | None = "",
        graph: bytes | None = None,
        graph_sha256: str = "",
        parameters: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        labels: Sequence[str] = (),
        resumed_from: str | None = "",
        parent: str | None = "",
        scheduled_start_time: int | None = None,
        executor: str = "",
        epoch: int = 1,
        settings: RecordSettings | None = None,
    ) -> Self:
        """
        Begin the record of a run with its `run.started` event.

        An unwritable home costs one WARNING; what is returned then records nothing. The header's facts about
        machine, process, Python and distributions are filled in here.

        Args:
            home: the home folder.
            flow_run_id, name, flow, project, labels, executor: as in `Header`.
            source_path: file in which the flow was made, if there is one; its SHA-256 is taken here.
            graph: canonical JSON of the graph, stored here once; or `graph_sha256` when it is stored already.
            parameters: values of the run, defaults included; written as `recorded_values` says.
            context: what the run was given.
            resumed_from: id of the run that this one continues.
            parent: id of the flow run that started this one.
            scheduled_start_time: microseconds since 1970 UTC.
            epoch: 1 unless granted by a server.
            settings: default: those of the configuration.
        """
        settings = settings or RecordSettings.from_config(config)
        place = Home(home)
        header = _header(
            flow_run_id=flow_run_id,
            name=name,
            flow=flow,
            project=project,
            source_path=source_path or "",
            graph_sha256=graph_sha256,
            parameters=recorded_values(parameters or {}),
            context=recorded_values(context or {}),
            labels=list(labels),
            resumed_from=resumed_from or "",
            parent=parent or "",
            scheduled_start_time=scheduled_start_time,
            executor=executor,
        )
        retention.prune_if_due(place, settings)
        try:
            if graph is not None:
                header.graph_sha256 = place.objects_put(graph)
            folder = place.run_folder(flow_run_id)
            ensure_private_dir(folder)
            writer = JournalWriter(folder / f"{epoch}.journal", epoch, durable=settings.durable)
        except FileExistsError:
            _warn("This run is not recorded and cannot be resumed: there is one of the id %s.", flow_run_id)
            return cls(flow_run_id, place, None, settings, epoch)
        except OSError as error:
            _warn(
                "This run is not recorded and cannot be resumed: %s. Check the folder %s.",
                told(error),
                place.path,
            )
            return cls(flow_run_id, place, None, settings, epoch)
        recorder = cls(flow_run_id, place, writer, settings, epoch)
        recorder._append(Event(kind=Kind.RUN_STARTED, header=header))
        return recorder

    @property
    def recording(self) -> bool:
        """Whether events still reach the record."""
        return self._writer is not None and self._writer.broken is None

    @property
    def resumable(self) -> bool:
        """Whether the record, as far as it goes now, lets a later run continue from here."""
        return self._keeps and self.recording

    # ------------------------------------------------------------------------------------------------- states

    def run_state(self, state_name: str, message: str = "", cause: str = "", actor: str = "") -> None:
        """Record a state of the run. A final one is forced to the disk."""
        final = state_name in FINAL_STATES
        if final:
            self._final_state = state_name
        if self._writer is None:
            return
        message = mask(message)
        event = Event(kind=Kind.RUN_STATE, state=state_name, message=message, cause=cause, actor=actor)
        if not self._append(event):
            if final:
                self._writer.mark_incomplete(state_name, message)
            return
        if final and not self._writer.sync():
            self._ended()

    def task_state(self, event: Event) -> None:
        """Record a state of a task run: an event of kind `task.state`, whose message is masked here."""
        writer = self._writer
        if writer is None:
            return
        if event.message:
            event.message = mask(event.message)
        if not writer.append(event):
            self._ended()

    # ----------------------------------------------------------------------------- names, notes and artifacts

    def run_name(self, name: str) -> None:
        """Record that the run is called differently from now on."""
        self._append(Event(kind=Kind.RUN_NAME, data={"name": mask(name)}))

    def task_name(self, slug: str, index: int, name: str) -> None:
        """Record the name of a task run (`task_run_name`)."""
        self._append(Event(kind=Kind.TASK_NAME, slug=slug, index=index, data={"name": mask(name)}))

    def note(self, text: str, slug: str = "", index: int = -1, **data: Any) -> None:
        """Record a remark, such as why a task is run again on resume."""
        self._append(
            Event(kind=Kind.NOTE, slug=slug, index=index, message=mask(text), data=recorded_values(data))
        )

    def artifact(self, slug: str, index: int, kind: str, key: str, body: Any) -> None:
        """Record an artifact of a task run; `body` in the form of `recorded_value`."""
        data = {"kind": kind, "key": mask(key), "body": recorded_value("body", body)}
        self._append(Event(kind=Kind.ARTIFACT, slug=slug, index=index, data=data))

    def put_object(self, data: bytes) -> str:
        """Store bytes (a task's source) under their SHA-256; return it, also when they cannot be stored."""
        if self.recording:
            try:
                return self.home.objects_put(data)
            except OSError as error:
                self._end_with(error)
        return hashlib.sha256(data).hexdigest()

    # --------------------------------------------------------------------------------------- logs and the end

    def log_handler(self, level: int) -> RunLogHandler | None:
        """Return the handler (made once) that writes this run's log records beside the journal, or None."""
        if self._log_handler is None and self.folder is not None:
            try:
                path = self.folder / f"{self.epoch}.logs.jsonl"
                self._log_handler = RunLogHandler(path, self.flow_run_id, level)
            except OSError as error:
                _warn("The log of this run is not recorded: %s.", told(error))
        return self._log_handler

    def close(self) -> None:
        """
        Close the files.

        Drops this run's own kept results where the policy keeps them until success only.
        """
        if self._log_handler is not None:
            self._log_handler.close()
        if self._writer is None:
            return
        self._warned = True  # What comes after the end, from a thread left over, is dropped without a word.
        self._writer.close()
        self.keeper.close()
        if self.keeper.has_files:
            succeeded = self._final_state in SUCCESSFUL_STATES
            retention.after_run(self.home, self.settings, self.folder, succeeded)

    def _append(self, event: Event) -> bool:
        writer = self._writer
        if writer is None:
            return False
        if writer.append(event):
            return True
        self._ended()
        return False

    def _end_with(self, error: OSError) -> None:
        if self._writer is not None:
            self._writer.give_up(error)
        self._ended()

    def _ended(self) -> None:
        if not self._warned and self._writer is not None and self._writer.broken is not None:
            self._warned = True
            self.keeper.is_open = False
            _warn(
                "The record of this run ends here: %s. The run goes on, but it cannot be resumed.",
                told(self._writer.broken),
            )


def _header(**facts: Any) -> Header:
    from tenuto import __version__

    me = this_process()
    return Header(
        v=1,
        source_sha256=_file_sha256(facts["source_path"]),
        python=".".join(map(str, sys.version_info[:3])),
        tenuto=__version__,
        distributions_sha256=distributions_sha256(),
        host=me.host,
        boot_id=me.boot_id,
        pid=me.pid,
        start_ticks=me.start_ticks,
        **facts,
    )


def _file_sha256(path: str) -> str:
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # ValueError: a name with NUL.
        return ""


def _warn(text: str, *values: object) -> None:
    get_logger("Recorder").warning(text, *values)
