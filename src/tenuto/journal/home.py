"""The home folder: where runs, their records and kept results, graphs and task sources lie."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from tenuto._base.files import write_atomic
from tenuto.exceptions import PrefectException
from tenuto.journal.event import Header
from tenuto.journal.process import ProcessIdentity, is_running
from tenuto.journal.reader import read_ends

__all__ = ["AmbiguousRun", "Home", "RunNotFound", "is_alive", "is_uuid"]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f-]{4,36}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAMES_COMPARED_MAX = 500


class RunNotFound(PrefectException, LookupError):
    """No run of that id, prefix or name is recorded; `similar` are names and ids that come near."""

    def __init__(self, text: str, similar: list[str]) -> None:
        self.text = text
        self.similar = similar
        hint = f" Did you mean {similar[0]!r}?" if similar else ""
        super().__init__(f"No run {text!r} is recorded here.{hint} See what there is with: tenuto history")


class AmbiguousRun(PrefectException, LookupError):
    """More than one run's id begins with that prefix; `run_ids` are some of them."""

    def __init__(self, text: str, run_ids: list[str]) -> None:
        self.text = text
        self.run_ids = run_ids
        shown = ", ".join(run_ids[:4]) + (" …" if len(run_ids) > 4 else "")
        super().__init__(f"More than one run begins with {text!r}: {shown}. Give more characters of the id.")


class Home:
    """
    The layout of one home folder.

    Making this object touches nothing; folders appear when something is written.

    Args:
        path: the folder, such as `~/.tenuto` (expanded).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.runs = self.path / "runs"
        self.objects = self.path / "objects"

    # ------------------------------------------------------------------- objects: each once, named by content

    def objects_put(self, data: bytes) -> str:
        """
        Store bytes under their SHA-256, unless they are there, and return it.

        Raises:
            OSError: when they cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._object_path(digest)
        if _length(path) != len(data):  # Another length: cut off by a power cut.
            write_atomic(path, [data], private=True, fsync=False)
        return digest

    def objects_get(self, sha256: str) -> bytes | None:
        """Return the bytes of that SHA-256, or None when they are not there or have been damaged."""
        if not _SHA256.fullmatch(sha256):
            return None
        try:
            data = self._object_path(sha256).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def _object_path(self, digest: str) -> Path:
        return self.objects / digest[:2] / digest[2:]

    # --------------------------------------------------------------------------------------------------- runs

    def run_folder(self, flow_run_id: str) -> Path:
        """
        Return the folder of a run.

        An id that is not a UUID (a user's own) never becomes part of a path as it is.
        """
        if _UUID.fullmatch(flow_run_id):
            return self.runs / flow_run_id
        return self.runs / f"id-{hashlib.sha256(flow_run_id.encode(errors='surrogatepass')).hexdigest()[:32]}"

    def run_names(self, without: Collection[str] = ()) -> list[str]:
        """
        Return the names of all runs' folders, newest first.

        Costs one listing of one folder, however many runs there are.

        Args:
            without: names to leave out.
        """
        try:
            found = os.listdir(self.runs)
        except OSError:
            return []
        names = [name for name in found if name not in without and not name.startswith(".")]
        if all(len(name) == 36 and name[14] == "7" for name in names):
            return sorted(names, reverse=True)  # Ids of version 7 begin with the time of their making.
        return sorted(names, key=self._age_key, reverse=True)

    def run_folders(self) -> Iterator[Path]:
        """Return the folders of all runs, newest first."""
        return (self.runs / name for name in self.run_names())

    def run_ids(self) -> list[str]:
        """Return the ids of all recorded runs, newest first."""
        return [run_id for name in self.run_names() if (run_id := self._run_id(name))]

    def _run_id(self, name: str) -> str | None:
        """Return the id of the run in a folder: its name, or what the header says where the id is no UUID."""
        if _UUID.fullmatch(name):
            return name
        header = read_header(self.runs / name)
        return header.flow_run_id if header is not None else None

    def _age_key(self, name: str) -> tuple[int, str]:
        """Return when a folder was made: ids of version 7 begin with it, other folders have to be asked."""
        millis = uuid7_milliseconds(name)
        if millis is None:
            try:
                millis = int(os.stat(self.runs / name).st_ctime * 1000)
            except OSError:
                millis = 0
        return millis, name

    def find_run(self, text: str, flow: str | None = None) -> str:
        """
        Return the id of the run that a user means.

        That is an id, a unique prefix of one (four or more characters), a name (its newest run) or `last`.

        Args:
            text: as typed.
            flow: only runs of the flow of this name.

        Raises:
            RunNotFound: naming what comes near.
            AmbiguousRun: when a prefix fits several runs.
        """
        wanted = text.strip()
        if flow is None and _UUID.fullmatch(wanted.lower()) and self.run_folder(wanted.lower()).is_dir():
            return wanted.lower()
        headers = list(self._headers(flow)) if flow is not None or wanted == "last" else None
        if wanted == "last" and headers:
            return headers[0].flow_run_id
        ids = [header.flow_run_id for header in headers] if headers is not None else self.run_ids()
        found = self._by_id(wanted, ids)
        if found:
            return found
        names: list[str] = []
        for header in headers if headers is not None else self._headers(flow):
            if header.name == wanted:
                return header.flow_run_id
            names.append(header.name)
        near = difflib.get_close_matches(
            wanted, [*names[:_NAMES_COMPARED_MAX], *ids[:_NAMES_COMPARED_MAX]], n=3
        )
        raise RunNotFound(text, near)

    def _by_id(self, wanted: str, ids: list[str]) -> str | None:
        if wanted in ids:
            return wanted
        prefix = wanted.lower()
        if not _PREFIX.fullmatch(prefix):
            return None
        found = [run_id for run_id in ids if run_id.startswith(prefix)]
        if len(found) > 1:
            raise AmbiguousRun(wanted, found)
        return found[0] if found else None

    def _headers(self, flow: str | None) -> Iterator[Header]:
        for folder in self.run_folders():
            header = read_header(folder)
            if header is not None and (flow is None or header.flow == flow):
                yield header


def _length(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def read_header(folder: Path) -> Header | None:
    """Return the header of a run's newest journal, or None when there is no readable one."""
    path = newest_journal(folder)
    if path is None:
        return None
    first, _ = read_ends(path, last=False)
    return first.header if first is not None else None


def newest_journal(folder: Path) -> Path | None:
    """Return the journal of the highest epoch in a run's folder."""
    try:
        epochs = [
            int(name[:-8])
            for name in os.listdir(folder)
            if name.endswith(".journal") and name[:-8].isdecimal()
        ]
    except OSError:
        return None
    return folder / f"{max(epochs)}.journal" if epochs else None


def is_alive(header: Header) -> bool:
    """Say whether the process that records this run is still there, by host, boot and start ticks."""
    return is_running(ProcessIdentity(header.host, header.boot_id, header.pid, header.start_ticks))


def is_uuid(text: str) -> bool:
    """Say whether an id is a UUID as Tenuto makes them: what a server knows a run by."""
    return _UUID.fullmatch(text) is not None


def uuid7_milliseconds(text: str) -> int | None:
    """Return when an id of version 7 was made, in milliseconds since 1970, or None for anything else."""
    if len(text) != 36 or text[14] != "7" or not _UUID.fullmatch(text):
        return None
    return int(text[:8] + text[9:13], 16)
