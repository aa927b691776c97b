"""`tenuto show`: one run, its tasks, its failures, and how to continue it."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from tenuto._base.texts import duration_text
from tenuto.cli.completion import complete_runs
from tenuto.cli.display import Display, display_of
from tenuto.cli.errors import Foreseen, NotFound
from tenuto.cli.group import Command
from tenuto.cli.run_tasks import TaskGroup, find_task, groups
from tenuto.cli.show_task import print_task, task_as_rest
from tenuto.cli.states import chip_of
from tenuto.cli.table import Cell, print_table
from tenuto.cli.texts import local_time, printable, seconds_text

if TYPE_CHECKING:
    from tenuto.journal.fold import RunView, TaskView
    from tenuto.journal.home import Home
    from tenuto.journal.logs import LogLine

__all__ = ["command"]

FAILURES_MAX = 3
"""Failed children of one mapped task that are shown with their tracebacks."""
EXAMPLES = """
RUN is an id, the beginning of one (four characters or more), a name (its newest run), or `last`.

Examples:

  tenuto show last
  tenuto show swift-otter --task train_model
  tenuto show swift-otter --task 'train_model[3]' --logs
"""


@click.command("show", cls=Command, epilog=EXAMPLES)
@click.argument("run", shell_complete=complete_runs)
@click.option("--task", metavar="TASK", help="One task in detail: its slug or name, a child as NAME[INDEX].")
@click.option("--logs", is_flag=True, help="The recorded log lines.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Form."
)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.pass_context
def command(
    context: click.Context, run: str, task: str | None, logs: bool, output: str, as_json: bool
) -> None:
    """Show one run: its tasks, failures and logs, and how to continue it."""
    from tenuto.configuration import home_path
    from tenuto.journal.home import Home
    from tenuto.journal.runs import run_logs

    display = display_of(context)
    home = Home(home_path())
    shown = Shown(display, home, run)
    lines = list(run_logs(home, shown.run_id)) if logs else []
    if as_json or output == "json":
        display.result(json.dumps(shown.as_rest(task, lines if logs else None), indent=2, ensure_ascii=False))
    elif task is not None:
        group, view = find_task(shown.tasks, task)
        print_task(display, shown.view, shown.graph, home, group, view)
        print_logs(display, of_task(lines, group.slug, view))
    elif logs:
        print_logs(display, lines)
    else:
        shown.print()


class Shown:
    """
    A run as it is shown.

    Args:
        display: prints.
        home: where it is recorded.
        text: what the user calls it.

    Raises:
        NotFound: when there is no such run.
        Foreseen: when there are several, or its record cannot be read.
    """

    def __init__(self, display: Display, home: Home, text: str) -> None:
        from tenuto.journal.home import AmbiguousRun, RunNotFound
        from tenuto.journal.runs import read_run

        self.display = display
        self.home = home
        try:
            self.run_id = home.find_run(text)
        except RunNotFound as error:
            raise NotFound(printable(str(error))) from error
        except AmbiguousRun as error:
            raise Foreseen(printable(str(error))) from error
        view = read_run(home, self.run_id)
        if view is None:
            folder = home.run_folder(self.run_id)
            raise Foreseen(f"The record of run {self.run_id} cannot be read: no whole event is in {folder}.")
        self.view: RunView = view
        self.graph = read_graph(home, view.header.graph_sha256)
        self.tasks = groups(view, self.graph)

    # -------------------------------------------------------------------------------------------- for people

    def print(self) -> None:
        """Print the run, its tasks, what failed, and how to continue."""
        self.print_header()
        self.print_tasks()
        self.print_failures()
        self.print_continuation()

    def print_header(self) -> None:
        """Print what is known of the run as a whole."""
        view, header = self.view, self.view.header
        state = f"{view.state} ({view.cause})" if view.cause else view.state
        facts = [
            ("Run", f"{view.name}  {header.flow_run_id}"),
            ("Flow", f"{header.flow}  {header.source_path}".rstrip()),
            ("State", f"{state}  {view.message}".rstrip()),
            ("Started", local_time(view.started)),
            ("Duration", self.duration()),
            ("Parameters", short_json(header.parameters)),
        ]
        if header.context:
            facts.append(("Context", short_json(header.context)))
        if header.resumed_from:
            facts.append(("Continues", self.named(header.resumed_from)))
        if header.parent:
            facts.append(("Started by", self.named(header.parent)))
        facts.append(
            ("Ran on", f"{header.host}, pid {header.pid}, Python {header.python}, Tenuto {header.tenuto}")
        )
        for label, text in facts:
            self.display.line(
                f"{self.display.styled(label.ljust(10), sys.stdout, bold=True)}  {printable(text)}"
            )

    def named(self, run_id: str) -> str:
        """Return the name and the id of another run; the id alone when its record is gone."""
        from tenuto.journal.runs import summarize

        summary = summarize(self.home.run_folder(run_id))
        return f"{summary.name}  {run_id}" if summary is not None else run_id

    def duration(self) -> str:
        """Return how long the run took, or has been going."""
        view = self.view
        if view.started is None:
            return "-"
        if view.ended is not None:
            return seconds_text((view.ended - view.started) / 1e6)
        return f"{duration_text((view.updated - view.started) / 1e6)} up to the last event"

    def print_tasks(self) -> None:
        """Print the table of tasks; the children of a mapped one are counted behind it."""
        if not self.tasks:
            return
        colourful = sys.stdout.isatty()
        counts = Counter(group.name for group in self.tasks)
        rows = [
            [
                Cell(group.name if counts[group.name] == 1 else group.slug, may_be_cut=True),
                Cell(group.state, chip=chip_of(group.state) if colourful else ""),
                Cell(seconds_text(group.seconds)),
                Cell(attempts_text(group)),
                Cell(note_of(group), may_be_cut=True),
            ]
            for group in self.tasks
        ]
        self.display.line()
        print_table(self.display, ["task", "state", "duration", "attempts", ""], rows)

    def print_failures(self) -> None:
        """Print what failed, with the user's tracebacks."""
        for group in self.tasks:
            failed = [
                one for one in ([group.view] if group.view else []) + group.children if one.error is not None
            ]
            for view in failed[:FAILURES_MAX]:
                self.display.line()
                self.display.line(printable(f"{full_name(group, view)}: {view.message}"), colour="red")
                print_traceback(self.display, view)
            if len(failed) > FAILURES_MAX:
                rest = len(failed) - FAILURES_MAX
                one = shlex.join([self.view.name, "--task", full_name(group, failed[FAILURES_MAX])])
                self.display.line(printable(f"{rest} more of {group.name} failed; see: tenuto show {one}"))

    def print_continuation(self) -> None:
        """Print how to go on from here."""
        from tenuto.journal.home import is_alive

        view = self.view
        if view.incomplete:
            self.display.line()
            self.display.line(
                f"The record of this run ends early ({printable(view.incomplete)}): it cannot be continued."
            )
        elif not view.is_successful and (view.is_finished or not is_alive(view.header)):
            self.display.line()
            self.display.line(printable(f"To continue this run: {self.continue_command()}"))

    def continue_command(self) -> str:
        """Return the command, or the call, that continues the run."""
        from tenuto.journal.home import AmbiguousRun, RunNotFound

        header = self.view.header
        try:
            # A name means its newest run.
            name = (
                header.name if self.home.find_run(header.name) == header.flow_run_id else header.flow_run_id
            )
        except (AmbiguousRun, RunNotFound):
            name = header.flow_run_id
        if not header.source_path:
            return f"flow.run(resume={name!r})"
        resume = [f"--resume={name}"] if name.startswith("-") else ["--resume", name]
        return shlex.join(["tenuto", "run", "-p", header.source_path, "-n", header.flow, *resume])

    # ------------------------------------------------------------------------------------------ for programs

    def as_rest(self, task: str | None, logs: list[LogLine] | None) -> dict[str, Any]:
        """Return the run as REST shows it, with its task runs, or the one asked for, and its logs."""
        import msgspec

        from tenuto.journal.runs import summarize

        summary = summarize(self.home.run_folder(self.run_id))
        found: dict[str, Any] = summary.as_rest() if summary is not None else {}
        if task is not None:
            group, view = find_task(self.tasks, task)
            found["task_runs"] = [task_as_rest(self.run_id, group, view)]
            logs = of_task(logs, group.slug, view) if logs is not None else None
        else:
            found["task_runs"] = [
                task_as_rest(self.run_id, group, view)
                for group in self.tasks
                for view in ([group.view] if group.view or not group.children else []) + group.children
            ]
        if logs is not None:
            found["logs"] = msgspec.to_builtins(logs)
        return found


def read_graph(home: Home, sha256: str) -> dict[str, Any]:
    """Return the graph of a run; empty when it is not there any more."""
    data = home.objects_get(sha256)
    if data is None:
        return {}
    found = json.loads(data)
    return found if isinstance(found, dict) else {}


def full_name(group: TaskGroup, view: TaskView) -> str:
    """Return the name of a task run, with its index for a child."""
    return group.name if view.index < 0 else f"{group.name}[{view.index}]"


def attempts_text(group: TaskGroup) -> str:
    """Return the number of attempts, of a mapped task the highest among its children; empty for none."""
    views = group.children or ([group.view] if group.view is not None else [])
    return str(max((view.run_count for view in views if view.started is not None), default=""))


def note_of(group: TaskGroup) -> str:
    """Return what a line of the table says beside the state: the children, or a message that matters."""
    if group.children_text:
        return group.children_text
    view = group.view
    if view is None or view.state in ("Success", "Running"):
        return ""
    if view.error is not None:
        return f"{view.error.type}: {view.error.message}"
    return view.message


def of_task(lines: list[LogLine], slug: str, view: TaskView | None) -> list[LogLine]:
    """Return the log lines of a task, of one child where that is what is shown."""
    return [
        line
        for line in lines
        if line.slug == slug and (view is None or view.index < 0 or line.index == view.index)
    ]


def print_logs(display: Display, lines: list[LogLine]) -> None:
    """Print recorded log lines; where some were dropped, say so."""
    from tenuto.cli.log_lines import log_text

    for line in lines:
        if line.dropped:
            display.notice(f"{line.dropped} log lines are missing here: {line.reason}")
        else:
            first, *rest = line.message.split("\n")
            text = log_text(display, line.ts, line.level, printable(first))
            display.line("\n".join([text, *map(printable, rest)]))


def print_traceback(display: Display, view: TaskView) -> None:
    """Print the recorded traceback, indented."""
    if view.error is not None:
        for line in view.error.traceback.rstrip("\n").split("\n"):
            display.line(f"    {printable(line)}")


def short_json(values: dict[str, Any]) -> str:
    """Return values on one line; a value that was not recorded as such is its text."""
    shown = {
        name: value["$repr"] if isinstance(value, dict) and value.keys() == {"$repr"} else value
        for name, value in values.items()
    }
    return json.dumps(shown, ensure_ascii=False) if shown else "none"
