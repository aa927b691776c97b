"""Keeps the results of one run's tasks, from whichever process they are made in."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from tenuto._base.files import TEMPORARY_PREFIX, told
from tenuto._base.ids import task_run_id
from tenuto._base.logging import get_logger
from tenuto._base.texts import safe_text
from tenuto.exceptions import PrefectException
from tenuto.journal import retention
from tenuto.journal.event import ResultRef
from tenuto.journal.home import Home
from tenuto.journal.kept import Wrong
from tenuto.journal.places import Place, find, own_place, place_at, shown
from tenuto.journal.process import host_name
from tenuto.journal.settings import RecordSettings
from tenuto.journal.values import NotKept, inline, keep_in, load

__all__ = ["Keeper"]

_NOTE = ".note"
_SIGNATURE_BYTES = 32


class Keeper:
    """
    Keeps and takes over results of one run and epoch. None of its methods raises for the disk, or a store.

    A pickled one keeps results of the same run in another process; what it has kept there is told to the
    run's own one by `count`, what it has not by `tell_not_kept`.

    Args:
        home: the home folder that the run's folder lies in.
        flow_run_id: the run.
        epoch: as in the name of its journal.
        settings: limits, and the location of results.
        is_open: whether the run is recorded; when its record has ended, nothing more is kept.

    Attributes:
        has_files: whether results were kept in files or objects, as opposed to events.
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
        self._location = (
            f"{settings.results_location}/{self.folder.name}" if settings.results_location else ""
        )
        self._bytes = 0
        self._refusal_told = False
        self._host = host_name()
        self._has_copies = False
        self._note_key = b""

    def __getstate__(self) -> dict[str, Any]:
        if not self._has_copies:
            self._has_copies = True
            self._note_key = os.urandom(_SIGNATURE_BYTES)
            if self._location:
                # What others keep there is removed with this run, also when this process does not live to
                # hear of it; and the folder tells them that theirs is the same.
                self._prepare()
        return {**vars(self), "has_files": False}

    # ------------------------------------------------------------------------------------------------ keeping

    def keep(self, slug: str, index: int, value: object) -> ResultRef | NotKept | None:
        """
        Keep a task's value, serialised now; None when the run is not recorded any more.

        The caller decides which tasks' values are kept at all (`flows.keep_results`), and lets the process of
        the flow tell what was not (`tell_not_kept`).
        """
        if not self.is_open:
            return None
        ref = inline(value)
        if ref is not None:
            return ref
        outcome = self._keep_in_place(self._name(slug, index), value)
        if isinstance(outcome, ResultRef):
            self._bytes += outcome.length
        return outcome

    def _keep_in_place(self, name: str, value: object) -> ResultRef | NotKept:
        settings, place = self.settings, self._place
        if self._is_away and not self._location:
            reason = f"it was made on {host_name()}, and the run's folder is on {self._host}"
            advice = "set flows.results_location to a folder or URL that all machines reach"
            return NotKept(f"{reason}; {advice}", refused=True)
        problem = self._prepare() or self._no_room()
        if problem is not None:
            return NotKept(problem, refused=True)
        left = (settings.results_bytes_max or sys.maxsize) - self._bytes
        sink = place.sink(name, min(settings.value_bytes_max, left), durable=settings.durable)
        outcome = keep_in(sink, value, place.location_of(name), allow_pickle=settings.allow_pickle)
        if isinstance(outcome, ResultRef):
            return outcome
        if outcome.over_cap and left < settings.value_bytes_max:
            return NotKept("this run has kept as much as all runs together may (history.results_max_gb)")
        return NotKept(self._located(outcome.reason), refused=True) if outcome.refused else outcome

    def tell_not_kept(self, name: str, outcome: NotKept) -> None:
        """Log, for the process of the flow, why the result of a task was not kept."""
        # What refuses one value refuses the next thousand too: that is told once.
        level = logging.DEBUG if outcome.refused and self._refusal_told else logging.WARNING
        self._refusal_told = self._refusal_told or outcome.refused
        text = "Task '%s': its result is not kept, so that a resumed run repeats it: %s"
        get_logger("Recorder").log(level, text, name, outcome.reason)

    def count(self, ref: ResultRef) -> None:
        """Take note of a result that another process has kept for this run."""
        if ref.kind == "kept":
            self._bytes += ref.length
            self.has_files = True

    def load(self, ref: ResultRef) -> Any:
        """Return a result that this run has kept; raises as `values.load` does."""
        return load(ref, self.folder, allow_pickle=self.settings.allow_pickle)

    def link(self, ref: ResultRef, from_folder: Path | str, slug: str, index: int) -> ResultRef | None:
        """
        Take a kept result of another run over into this one: by hard link, else by copy.

        Args:
            ref: the result as recorded there.
            from_folder: the other run's folder.

        Returns:
            The reference for this run's event; None when what was kept is gone, is another, or cannot be
            taken over.
        """
        if not self.is_open or ref.kind != "kept":
            return ref
        place, name = self._place, self._name(slug, index)
        try:
            source, source_name = find(ref.location, Path(from_folder))
            self._make_place()
            place.take(name, source, source_name, ref.length)
        except FileNotFoundError:
            return None
        except (OSError, PrefectException, Wrong) as error:
            get_logger("Recorder").warning(
                "Task '%s': its kept result cannot be taken over: %s", slug, safe_text(error)
            )
            return None
        self._bytes += ref.length
        return msgspec.structs.replace(ref, location=place.location_of(name))

    def close(self) -> None:
        """Keep nothing more, and note how much was kept: the retention goes by it."""
        self.is_open = False
        self._forget_notes()
        if self.has_files and self._location:
            try:
                retention.mark_kept(self.home, self.folder, self._location, self._bytes)
            except OSError as error:
                get_logger("Recorder").debug("How much was kept is not noted: %s", told(error))

    # ------------------------------------------------------------------------ notes between several processes

    def note(self, ref: ResultRef, key: str) -> None:
        """
        Note under a key what was kept, in a file or object beside it.

        The event that tells of it is written elsewhere, perhaps after this process is gone.
        """
        if self._is_away and not self._location:
            return
        try:
            self._make_place()
            data = msgspec.json.encode(ref)
            self._place.write(f"{key}{_NOTE}", self._signature(data) + data)
        except OSError as error:
            get_logger("Recorder").debug("What was kept as %s is not noted: %s", key, told(error))

    def noted(self, key: str) -> ResultRef | None:
        """Return what was noted under a key, None for nothing."""
        if self._is_away and not self._location:
            return None
        try:
            note = self._place.read(f"{key}{_NOTE}")
            signature, data = note[:_SIGNATURE_BYTES], note[_SIGNATURE_BYTES:]
            # Others may write into a folder or bucket that machines share, and a pickle that one of them has
            # put there must not be loaded.
            if signature != self._signature(data):
                return None
            return msgspec.json.decode(data, type=ResultRef)
        except (OSError, PrefectException, msgspec.DecodeError):
            return None

    def _signature(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._note_key, digest_size=_SIGNATURE_BYTES).digest()

    def _forget_notes(self) -> None:
        """
        Remove what other processes have left beside results: the record tells of everything by now.

        Their notes, and what those that were killed had not written to its end.
        """
        if not self._has_copies:
            return
        try:
            names = self._place.names()
            self._place.remove(
                [name for name in names if name.endswith(_NOTE) or name.startswith(TEMPORARY_PREFIX)]
            )
        except OSError as error:
            get_logger("Recorder").debug("Notes of what was kept are left: %s", told(error))

    # ------------------------------------------------------------------------------------------ where it lies

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.home.run_folder(self.flow_run_id)

    @property
    def _place(self) -> Place:
        return place_at(self._location) if self._location else own_place(self.folder)

    @property
    def _is_away(self) -> bool:
        """Whether this is not the machine of the run: the folder of that name is another one here."""
        return host_name() != self._host

    def _name(self, slug: str, index: int) -> str:
        return f"{task_run_id(self.flow_run_id, slug, index)}.{self.epoch}"

    def _make_place(self) -> None:
        if not self.has_files:
            if not self._is_away:
                retention.mark_kept(self.home, self.folder, self._location)
            self._place.prepare(make=not self._is_away)
            self.has_files = True

    def _prepare(self) -> str | None:
        """Make the place; return what stands in the way."""
        try:
            self._make_place()
        except OSError as error:
            return self._located(f"the disk refused it: {told(error)}")
        return None

    def _no_room(self) -> str | None:
        """Look at the disk; one system call, made only when a file is about to be written."""
        percent = self.settings.min_free_percent
        try:
            if self._place.free_percent() >= percent:
                return None
        except OSError as error:
            return self._located(f"the disk cannot be asked for its free space: {told(error)}")
        return self._located(f"less than {percent:g} % of the disk is free (history.min_free_percent)")

    def _located(self, reason: str) -> str:
        """Add to what stands in the way of keeping where that is, if the user has said where."""
        if not self._location:
            return reason
        on = f", on {host_name()}" if self._is_away else ""
        return f"{reason} (flows.results_location is {shown(self.settings.results_location)}{on})"
