"""What the engine calls to record a run: events, kept results, graph and sources. It stops no user code."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from tenuto._base.files import ensure_private_dir, is_storage_fault
from tenuto._base.ids import task_run_id
from tenuto._base.logging import get_logger
from tenuto._base.masking import mask
from tenuto.configuration import config
from tenuto.journal import retention
from tenuto.journal.event import Event, Header, Kind, ResultRef
from tenuto.journal.home import Home
from tenuto.journal.logs import RunLogHandler
from tenuto.journal.process import distributions_sha256, this_process
from tenuto.journal.recorded import recorded_values
from tenuto.journal.settings import RecordSettings
from tenuto.journal.states import FINAL_STATES, SUCCESSFUL_STATES
from tenuto.journal.values import KEPT_FOLDER, NotKept, inline, is_file_name, keep_file
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
        kept_bytes: bytes of kept files that this run has added.
        kept_count: number of results that were kept or linked, inline ones included.
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
        self.kept_bytes = 0
        self.kept_count = 0
        self._writer = writer
        self._keeps = writer is not None and settings.keep_results != "never"
        self._final_state = ""
        self._kept_ready = False
        self._refusal_told = False
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
                _told(error),
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
        """Record an artifact of a task run; `body` in the form of `recorded_values`."""
        data = recorded_values({"kind": kind, "key": key, "body": body})
        self._append(Event(kind=Kind.ARTIFACT, slug=slug, index=index, data=data))

    def put_object(self, data: bytes) -> str:
        """Store bytes (a task's source) under their SHA-256; return it, also when they cannot be stored."""
        if self.recording:
            try:
                return self.home.objects_put(data)
            except OSError as error:
                self._end_with(error)
        return hashlib.sha256(data).hexdigest()

    # ------------------------------------------------------------------------------------------------ results

    def keep(self, slug: str, index: int, value: object) -> ResultRef | None:
        """
        Keep a task's value, serialised now. None when it is not kept; one log line has then said why.

        The caller decides which tasks' values are kept at all (`flows.keep_results`).
        """
        if not self.recording:
            return None
        ref = inline(value)
        if ref is None:
            outcome = self._keep_file(slug, index, value)
            if isinstance(outcome, NotKept):
                self._tell_not_kept(slug if index < 0 else f"{slug}[{index}]", outcome)
                return None
            self.kept_bytes += outcome.length
            ref = outcome
        self.kept_count += 1
        return ref

    def _tell_not_kept(self, name: str, outcome: NotKept) -> None:
        # A disk that refuses one value refuses the next thousand too: that is told once.
        level = logging.DEBUG if outcome.refused and self._refusal_told else logging.WARNING
        self._refusal_told = self._refusal_told or outcome.refused
        text = "Task '%s': its result is not kept, so that a resumed run repeats it: %s"
        get_logger("Recorder").log(level, text, name, outcome.reason)

    def _keep_file(self, slug: str, index: int, value: object) -> ResultRef | NotKept:
        settings = self.settings
        path = self._kept_path(slug, index)
        problem = self._no_room()
        if problem is not None:
            return NotKept(problem, refused=True)
        left = (settings.results_bytes_max or sys.maxsize) - self.kept_bytes
        try:
            self._make_kept_folder()
        except OSError as error:
            return NotKept(f"the disk refused it: {_told(error)}", refused=True)
        outcome = keep_file(
            value,
            path,
            min(settings.value_bytes_max, left),
            allow_pickle=settings.allow_pickle,
            durable=settings.durable,
        )
        if isinstance(outcome, NotKept) and outcome.over_cap and left < settings.value_bytes_max:
            return NotKept("this run has kept as much as all runs together may (history.results_max_gb)")
        return outcome

    def link(self, ref: ResultRef, from_folder: Path | str, slug: str, index: int) -> ResultRef | None:
        """
        Take a kept result of another run over into this one: by hard link, else by copy.

        Args:
            ref: the result as recorded there.
            from_folder: the other run's folder.

        Returns:
            The reference for this run's event; None when the file is gone, is another, or cannot be linked.
        """
        if not self.recording or ref.kind != "kept":
            self.kept_count += self.recording
            return ref
        if not is_file_name(ref.location):
            return None
        source = Path(from_folder) / KEPT_FOLDER / ref.location
        target = self._kept_path(slug, index)
        try:
            status = os.lstat(source)
            if not stat.S_ISREG(status.st_mode) or status.st_size != ref.length:
                return None
            self._make_kept_folder()
            _link_or_copy(source, target)
        except OSError as error:
            get_logger("Recorder").warning(
                "Task '%s': its kept result cannot be taken over: %s", slug, _told(error)
            )
            return None
        self.kept_count += 1
        return msgspec.structs.replace(ref, location=target.name)

    def _kept_path(self, slug: str, index: int) -> Path:
        folder = self.folder or self.home.run_folder(self.flow_run_id)
        return folder / KEPT_FOLDER / f"{task_run_id(self.flow_run_id, slug, index)}.{self.epoch}"

    def _make_kept_folder(self) -> None:
        if not self._kept_ready and self.folder is not None:
            ensure_private_dir(self.folder / KEPT_FOLDER)
            retention.mark_kept(self.home, self.folder)
            self._kept_ready = True

    def _no_room(self) -> str | None:
        """Look at the disk; one system call, made only when a file is about to be written."""
        try:
            usage = shutil.disk_usage(self.home.path)
        except OSError as error:
            return f"the disk cannot be asked for its free space: {_told(error)}"
        if usage.free * 100 < usage.total * self.settings.min_free_percent:
            percent = self.settings.min_free_percent
            return f"less than {percent:g} % of the disk is free (history.min_free_percent)"
        return None

    # --------------------------------------------------------------------------------------- logs and the end

    def log_handler(self, level: int) -> RunLogHandler | None:
        """Return the handler (made once) that writes this run's log records beside the journal, or None."""
        if self._log_handler is None and self.folder is not None:
            try:
                path = self.folder / f"{self.epoch}.logs.jsonl"
                self._log_handler = RunLogHandler(path, self.flow_run_id, level)
            except OSError as error:
                _warn("The log of this run is not recorded: %s.", _told(error))
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
        if self._kept_ready:
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
            _warn(
                "The record of this run ends here: %s. The run goes on, but it cannot be resumed.",
                _told(self._writer.broken),
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


def _link_or_copy(source: Path, target: Path) -> None:
    """
    Give a file a second name, or copy it where that is not possible.

    The target may exist from an attempt before. Linked files are never written to, so it is unlinked first.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if is_storage_fault(error):
            raise
        try:
            shutil.copyfile(source, target)
            os.chmod(target, 0o600)
        except OSError:
            target.unlink(missing_ok=True)
            raise


def _told(error: OSError) -> str:
    return error.strerror or str(error)


def _warn(text: str, *values: object) -> None:
    get_logger("Recorder").warning(text, *values)
