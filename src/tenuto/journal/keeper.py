"""Keeps the results of one run's tasks in the run's folder, from whichever process they are made in."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec

from tenuto._base.files import ensure_private_dir, is_storage_fault, told, write_atomic
from tenuto._base.ids import task_run_id
from tenuto._base.logging import get_logger
from tenuto.journal import retention
from tenuto.journal.event import ResultRef
from tenuto.journal.home import Home
from tenuto.journal.process import host_name
from tenuto.journal.settings import RecordSettings
from tenuto.journal.values import KEPT_FOLDER, NotKept, inline, is_file_name, keep_file

__all__ = ["Keeper"]

_NOTE = ".note"


class Keeper:
    """
    Keeps and takes over results of one run and epoch. None of its methods raises for the disk.

    A pickled one keeps results of the same run in another process; what it has kept there is told to the
    run's own one by `count`.

    Args:
        home: the home folder that the run's folder lies in.
        flow_run_id: the run.
        epoch: as in the name of its journal.
        settings: limits.
        is_open: whether the run is recorded; when its record has ended, nothing more is kept.

    Attributes:
        has_files: whether results were kept in files, as opposed to events.
    """

    def __init__(
        self, home: Home, flow_run_id: str, epoch: int, settings: RecordSettings, *, is_open: bool
    ) -> None:
        self.home = home
        self.flow_run_id = flow_run_id
        self.epoch = epoch
        self.settings = settings
        self.is_open = is_open
        self.has_files = False
        self._bytes = 0
        self._refusal_told = False
        self._host = host_name()
        self._has_copies = False

    def __getstate__(self) -> dict[str, Any]:
        self._has_copies = True
        return vars(self)

    def keep(self, slug: str, index: int, value: object) -> ResultRef | None:
        """
        Keep a task's value, serialised now. None when it is not kept; one log line has then said why.

        The caller decides which tasks' values are kept at all (`flows.keep_results`).
        """
        if not self.is_open:
            return None
        if host_name() != self._host:
            # The folder of that name is another one here.
            self._tell_not_kept(slug, NotKept(f"the run's folder is on {self._host}", refused=True))
            return None
        ref = inline(value)
        if ref is None:
            outcome = self._keep_file(slug, index, value)
            if isinstance(outcome, NotKept):
                self._tell_not_kept(slug if index < 0 else f"{slug}[{index}]", outcome)
                return None
            self._bytes += outcome.length
            ref = outcome
        return ref

    def count(self, ref: ResultRef) -> None:
        """Take note of a result that another process has kept for this run."""
        if ref.kind == "kept":
            self._bytes += ref.length
            self.has_files = True

    def note(self, ref: ResultRef, key: str) -> None:
        """
        Note under a key what was kept, in a file beside it.

        The event that tells of it is written elsewhere, perhaps after this process is gone.
        """
        try:
            self._make_kept_folder()
            write_atomic(self._note_path(key), [msgspec.json.encode(ref)], private=True, fsync=False)
        except OSError as error:
            get_logger("Recorder").debug("What was kept as %s is not noted: %s", key, told(error))

    def noted(self, key: str) -> ResultRef | None:
        """Return what was noted under a key, None for nothing."""
        try:
            return msgspec.json.decode(self._note_path(key).read_bytes(), type=ResultRef)
        except (OSError, msgspec.DecodeError):
            return None

    def forget_notes(self) -> None:
        """Remove the notes that other processes have left: the record tells of everything by now."""
        if not self._has_copies:
            return
        for path in (self.folder / KEPT_FOLDER).glob(f"*{_NOTE}"):
            path.unlink(missing_ok=True)

    def _note_path(self, key: str) -> Path:
        return self.folder / KEPT_FOLDER / f"{key}{_NOTE}"

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
        left = (settings.results_bytes_max or sys.maxsize) - self._bytes
        try:
            self._make_kept_folder()
        except OSError as error:
            return NotKept(f"the disk refused it: {told(error)}", refused=True)
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
        if not self.is_open or ref.kind != "kept":
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
                "Task '%s': its kept result cannot be taken over: %s", slug, told(error)
            )
            return None
        return msgspec.structs.replace(ref, location=target.name)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.home.run_folder(self.flow_run_id)

    def _kept_path(self, slug: str, index: int) -> Path:
        return self.folder / KEPT_FOLDER / f"{task_run_id(self.flow_run_id, slug, index)}.{self.epoch}"

    def _make_kept_folder(self) -> None:
        if not self.has_files:
            ensure_private_dir(self.folder / KEPT_FOLDER)
            retention.mark_kept(self.home, self.folder)
            self.has_files = True

    def _no_room(self) -> str | None:
        """Look at the disk; one system call, made only when a file is about to be written."""
        try:
            usage = shutil.disk_usage(self.home.path)
        except OSError as error:
            return f"the disk cannot be asked for its free space: {told(error)}"
        if usage.free * 100 < usage.total * self.settings.min_free_percent:
            percent = self.settings.min_free_percent
            return f"less than {percent:g} % of the disk is free (history.min_free_percent)"
        return None


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
