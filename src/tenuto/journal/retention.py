"""
Which old runs and kept results go, and when. Live runs are never touched.

- Kept results go by policy (`flows.keep_results`), after `history.results_days`, and oldest first while all
  together are larger than `history.results_max_gb`. A copy that an unexpired `cache_for` entry names outlives
  its run.
- Whole runs go after `history.journals_days`, and oldest first while their records are larger than
  `history.journals_max_gb`.

A limit of 0 is no limit. At a run's start this costs a few system calls; when something is due, one listing,
and at most one `stat` per run folder: the folder `runs/.kept` holds one file for each run with kept results.

That file also names the URLs where a run has kept results outside of its own folder, and their bytes. They go
by the same rules, but for that shared places are spoken to once an hour only, and what is not named is never
touched: other homes may use the place, too.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from tenuto._base.files import ensure_private_dir
from tenuto._base.logging import get_logger
from tenuto.journal.cache_index import protected_files
from tenuto.journal.event import Event, Header
from tenuto.journal.home import Home, is_alive, newest_journal
from tenuto.journal.places import KEPT_FOLDER, own_place, place_at
from tenuto.journal.process import host_name
from tenuto.journal.reader import read_ends, read_events
from tenuto.journal.settings import RecordSettings
from tenuto.journal.shipment import SHIPPED_FOLDER
from tenuto.journal.states import FINAL_STATES, SUCCESSFUL_STATES

__all__ = ["PruneReport", "after_run", "mark_kept", "prune", "prune_if_due"]

RUNS_INTERVAL_SECONDS = 3600.0
STARTING_SECONDS = 24 * 3600.0
"""A folder without a readable journal may belong to a run that starts just now; after a day it is rubbish."""

_DAY_SECONDS = 24 * 3600.0
_GONE_PREFIX = ".gone-"


@dataclass(slots=True)
class PruneReport:
    """What went, or would go: ids as folder names, oldest last."""

    kept_removed: list[str] = field(default_factory=list)
    """Runs whose kept results went."""
    runs_removed: list[str] = field(default_factory=list)
    """Runs that went as a whole."""
    bytes_freed: int = 0


@dataclass(slots=True)
class _Run:
    folder: Path
    header: Header | None
    last: Event | None
    live: bool
    away: dict[str, int] = field(default_factory=dict)
    """URLs where it has kept results, outside of its folder, and their bytes there."""
    files: list[tuple[Path, int]] = field(default_factory=list)

    @property
    def ended(self) -> float:
        return self.last.ts / 1e6 if self.last is not None else 0.0

    @property
    def succeeded(self) -> bool:
        return self.last is not None and self.last.state in SUCCESSFUL_STATES

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.files) + sum(self.away.values())


def prune(
    home: Home, settings: RecordSettings, now: float | None = None, *, dry_run: bool = False
) -> PruneReport:
    """
    Apply all rules now.

    Args:
        home: the home folder.
        settings: the limits.
        now: seconds since 1970; default the clock.
        dry_run: change nothing, only report.
    """
    moment = time.time() if now is None else now
    report = PruneReport()
    folders = list(home.run_folders())
    marked = set(_names(home.runs / ".kept"))
    holders = [folder for folder in folders if folder.name in marked or (folder / KEPT_FOLDER).is_dir()]
    # Of records that are gone, what could not be removed where it lies.
    holders += [home.runs / name for name in sorted(marked.difference(folder.name for folder in folders))]
    _prune_kept(home, holders, settings, moment, report, dry_run)
    _prune_runs(home, folders, settings, moment, report, dry_run)
    if not dry_run:
        _remove_leftovers(home)
        _touch(home, "kept")
        _touch(home, "runs")
    return report


def prune_if_due(home: Home, settings: RecordSettings, now: float | None = None) -> PruneReport:
    """
    Apply the rules that may have become due: called at each run's start, before its folder is made.

    Results are looked at when some were kept since the last time, all else hourly. Never raises for the disk.
    """
    moment = time.time() if now is None else now
    report = PruneReport()
    try:
        hourly = not 0 <= moment - _modified(home.runs / ".pruned-runs") < RUNS_INTERVAL_SECONDS
        kept = _modified(home.runs / ".kept")
        # Also when both times are equal: file systems count in ticks of some milliseconds.
        if hourly or (kept and kept >= _modified(home.runs / ".pruned-kept")):
            holders = [home.runs / name for name in sorted(_names(home.runs / ".kept"), reverse=True)]
            _prune_kept(home, holders, settings, moment, report, dry_run=False, away=hourly)
            _touch(home, "kept")
        if hourly:
            _prune_runs(home, list(home.run_folders()), settings, moment, report, dry_run=False)
            _remove_leftovers(home)
            _touch(home, "runs")
    except OSError:
        pass  # Somebody else prunes too, or the home cannot be written: the next run's start tries again.
    return report


def mark_kept(home: Home, folder: Path, url: str = "", length: int | None = None) -> None:
    """
    Note that a run has kept results.

    Args:
        home: the home folder.
        folder: the run's folder.
        url: where they lie, if that is not the run's folder.
        length: how many bytes there, when that is known.

    Raises:
        OSError: when the note cannot be written.
    """
    index = home.runs / ".kept"
    ensure_private_dir(index)
    descriptor = os.open(index / folder.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if url:
            os.write(
                descriptor, f"{url} {'' if length is None else length}\n".encode(errors="surrogateescape")
            )
    finally:
        os.close(descriptor)


def after_run(home: Home, settings: RecordSettings, folder: Path | None, succeeded: bool) -> None:
    """At the end of a run: with `until_success`, what a successful one has kept goes at once."""
    if folder is not None and succeeded and settings.keep_results == "until_success":
        try:
            _remove_kept(home, folder, _protected(home, time.time()))
        except OSError:
            pass  # The next run's start tries again.


def _prune_kept(
    home: Home,
    holders: list[Path],
    settings: RecordSettings,
    now: float,
    report: PruneReport,
    dry_run: bool,
    away: bool = True,
) -> None:
    """Remove the results whose time has come; `away`: also those outside of this home."""
    runs = [_look(folder, now, settings) for folder in holders]
    for run in runs:
        run.away = _away(home, run)
    protected = _protected(home, now)
    _list_files(runs, protected)
    total = 0
    newest: dict[str, bool] = {}
    for run in runs:  # Newest first: what is over the cap is the oldest.
        flow = run.header.flow if run.header is not None else ""
        superseded = newest.get(flow, False)
        if run.succeeded:
            newest[flow] = True
        if run.live:
            total += run.bytes
            continue
        if not _has_to_go(run, superseded, settings, now) and not _over(
            total + run.bytes, settings.results_bytes_max
        ):
            total += run.bytes
            continue
        if run.away and not away:
            continue
        if run.files or run.away:  # All files may be protected.
            report.bytes_freed += run.bytes
            report.kept_removed.append(run.folder.name)
        if not dry_run:
            _remove_kept(home, run.folder, protected)


def _has_to_go(run: _Run, superseded: bool, settings: RecordSettings, now: float) -> bool:
    """Say whether results go by policy or age; `superseded`: a newer run of the flow has succeeded."""
    if run.last is None:
        return True  # Nothing can find them any more.
    if settings.results_days and now - run.ended > settings.results_days * _DAY_SECONDS:
        return True
    if settings.keep_results == "until_success":
        return superseded or run.succeeded
    return settings.keep_results == "last" and superseded and run.succeeded


def _prune_runs(
    home: Home, folders: list[Path], settings: RecordSettings, now: float, report: PruneReport, dry_run: bool
) -> None:
    total = 0
    for folder in folders:
        size, touched = _record_size(folder)
        old = settings.journals_days and now - touched > settings.journals_days * _DAY_SECONDS
        if not old and not _over(total + size, settings.journals_bytes_max):
            total += size
            continue
        if _look(folder, now, settings).live:
            total += size
            continue
        report.runs_removed.append(folder.name)
        report.bytes_freed += size
        if not dry_run:
            _remove_run(home, folder, now)


def _record_size(folder: Path) -> tuple[int, float]:
    """
    Return bytes and last change of a run's record by one `stat`.

    Later epochs and logs are not counted: they are rare or of the same order.
    """
    try:
        status = os.stat(folder / "1.journal")
    except OSError:
        try:
            status = os.stat(folder)
        except OSError:
            return 0, time.time()
    return status.st_size, status.st_mtime


def _look(folder: Path, now: float, settings: RecordSettings) -> _Run:
    path = newest_journal(folder)
    first, last = read_ends(path) if path is not None else (None, None)
    if first is None or last is None or first.header is None:
        return _Run(folder, None, None, live=now - _modified(folder) < STARTING_SECONDS)
    live = last.state not in FINAL_STATES and is_alive(first.header)
    # A process of another machine cannot be asked; silence for as long as records are kept is answer enough.
    if live and settings.journals_days and now - last.ts / 1e6 > settings.journals_days * _DAY_SECONDS:
        live = first.header.host == host_name()
    return _Run(folder, first.header, last, live)


def _protected(home: Home, now: float) -> set[tuple[str, str]]:
    """Return (run folder's name, file name) of what an unexpired cache entry names."""
    found = protected_files(home.path, int(now * 1e6))
    return {(home.run_folder(run).name, location.rpartition("/")[2]) for run, location in found}


def _list_files(runs: list[_Run], protected: set[tuple[str, str]]) -> None:
    """Find each run's kept files. A file linked into several runs is counted for the newest."""
    seen: set[tuple[int, int]] = set()
    for run in runs:
        try:
            with os.scandir(run.folder / KEPT_FOLDER) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    known = (status.st_dev, status.st_ino) in seen
                    seen.add((status.st_dev, status.st_ino))
                    if (run.folder.name, entry.name) not in protected:
                        run.files.append((Path(entry.path), 0 if known else status.st_size))
        except OSError:
            continue


def _away(home: Home, run: _Run) -> dict[str, int]:
    """Return where a run has kept results outside of its folder, and how many bytes."""
    found: dict[str, int] = {}
    urls = _urls(home, run.folder)
    for url, length in urls.items():
        # Of a run that was killed, and of one that goes on, only its record knows.
        found[url] = _recorded_bytes(run.folder, url) if length is None else length
        if length is None and not run.live:
            mark_kept(home, run.folder, url, found[url])
    return found


def _urls(home: Home, folder: Path) -> dict[str, int | None]:
    """Return the URLs where a run has noted that it keeps results, with the bytes where they are noted."""
    try:
        text = (home.runs / ".kept" / folder.name).read_text(errors="surrogateescape")
    except OSError:
        return {}
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        url, _, length = line.rpartition(" ")
        # One run's folder, and nothing above it, whatever the file says.
        if url.endswith(f"/{folder.name}"):
            found[url] = int(length) if length.isdecimal() else found.get(url)
    return found


def _recorded_bytes(folder: Path, url: str) -> int:
    path = newest_journal(folder)
    refs = (event.result for event in read_events(path)) if path is not None else ()
    return sum(ref.length for ref in refs if ref is not None and ref.location.startswith(f"{url}/"))


def _remove_kept(home: Home, folder: Path, protected: set[tuple[str, str]]) -> None:
    but = {name for run, name in protected if run == folder.name}
    is_clear = own_place(folder).clear(but)
    is_clear = _clear_away(home, folder, but) and is_clear
    if is_clear:  # Else it is looked at again next time.
        (home.runs / ".kept" / folder.name).unlink(missing_ok=True)


def _clear_away(home: Home, folder: Path, but: set[str]) -> bool:
    """Remove what a run has kept outside of its folder; say whether nothing is left there."""
    is_clear = True
    for url in _urls(home, folder):
        try:
            is_clear = place_at(url).clear(but) and is_clear
        except OSError as error:
            get_logger("Recorder").debug("Kept results cannot be removed: %s", error)
            is_clear = False
    return is_clear


def _remove_run(home: Home, folder: Path, now: float) -> None:
    """Take a run away at one stroke: a half-removed one would look like a damaged record."""
    protected = _protected(home, now)
    if any(name == folder.name for name, _ in protected):
        return
    is_clear = _clear_away(home, folder, set())
    gone = home.runs / f"{_GONE_PREFIX}{folder.name}"
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    (home.runs / SHIPPED_FOLDER / folder.name).unlink(missing_ok=True)
    if is_clear:
        (home.runs / ".kept" / folder.name).unlink(missing_ok=True)


def _remove_leftovers(home: Home) -> None:
    for name in _names(home.runs):
        if name.startswith(_GONE_PREFIX):
            shutil.rmtree(home.runs / name, ignore_errors=True)


def _over(size: int, limit: int) -> bool:
    return limit > 0 and size > limit


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _modified(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _touch(home: Home, what: str) -> None:
    if home.runs.is_dir():
        (home.runs / f".pruned-{what}").touch(0o600)
