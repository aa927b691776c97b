"""`tenuto run`: run a flow from a file or a module, in this process."""

from __future__ import annotations

import logging
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from tenuto.cli.completion import complete_runs
from tenuto.cli.display import Display, can_redraw, display_of
from tenuto.cli.errors import Foreseen
from tenuto.cli.group import Command
from tenuto.cli.inputs import assignments, parameter_file
from tenuto.cli.loading import LoadingFailed, check_options, find_flow, flow_options, loading_error
from tenuto.exceptions import PrefectException

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.engine.state import State

__all__ = ["command"]

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
INTERRUPTED = 130
SHOWN_MAX = 4000
EXAMPLES = """
Examples:

  tenuto run -p flow.py
  tenuto run -p flow.py --param test_data_ratio=0.3 --param 'columns=["a", "b"]'
  tenuto run -p flow.py --param-file params.json
  tenuto run -p flows.py --name data-engineer --log-level DEBUG
  tenuto run -m project.flows.daily
  tenuto run -p flow.py --resume          continue the newest run that did not succeed
  tenuto run -p flow.py --resume swift-otter
  tenuto run -p flow.py --schedule        run at each time of the flow's schedule
"""


class RunCommand(Command):
    """The command, for people who leave `-p` out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an argument that looks like a file gets a hint."""
        files = [argument for argument in args if argument.endswith(".py")]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not files or "extra argument" not in error.message:
                raise
            hint = f"Did you mean: {ctx.command_path} -p {shlex.quote(files[-1])}"
            raise click.UsageError(f"{error.message} {hint}", ctx) from None


@click.command("run", cls=RunCommand, epilog=EXAMPLES)
@flow_options
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; the value is JSON or text."
)
@click.option(
    "--param-file",
    type=click.Path(),
    metavar="FILE",
    help="JSON or TOML file of parameters; - reads JSON from stdin.",
)
@click.option(
    "--context", "contexts", multiple=True, metavar="NAME=VALUE", help="A value for the run's context."
)
@click.option("--run-name", help="Name of the run; default: two words.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="last",
    metavar="[RUN]",
    shell_complete=complete_runs,
    help="Continue a run: its id, the beginning of it, or its name; alone: the newest that did not succeed.",
)
@click.option(
    "-s", "--schedule", "on_schedule", is_flag=True, help="Run at each time of the flow's schedule, for ever."
)
@click.option(
    "--compat/--no-compat",
    default=None,
    help="Have `import prefect` find Tenuto; default: unless Prefect 1 is installed.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    metavar="LEVEL",
    help="Level of the run's logs: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
)
@click.option("--no-logs", is_flag=True, help="Print no log lines.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as JSON at the end, all else to stderr.")
@click.pass_context
def command(
    context: click.Context,
    path: str | None,
    module: str | None,
    name: str | None,
    params: tuple[str, ...],
    param_file: str | None,
    contexts: tuple[str, ...],
    run_name: str | None,
    resume: str | None,
    on_schedule: bool,
    compat: bool | None,
    log_level: str | None,
    no_logs: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a flow from a file or a module, in this process; no server is needed."""
    display = display_of(context)
    check_options(path, module)
    if on_schedule:
        refuse_with_schedule({"--resume": resume, "--run-name": run_name, "--json": as_json})
    given = parameters_from(display, params, param_file, quiet)
    options: dict[str, Any] = {}
    if contexts:
        options["context"] = assignments(contexts, "--context")
    if resume is not None:
        options["resume"] = resume
    lowest = None if no_logs else logging.ERROR if quiet else logging.NOTSET
    session = Session(display, quiet=quiet, run_name=run_name)
    with ExitStack() as stack:
        if as_json:
            stack.enter_context(display.results_only())
        session.prepare(stack, log_level, lowest)
        try:
            flow = session.retrieve(path, module, name, compat)
            code = (
                session.run_on_schedule(flow, given, options)
                if on_schedule
                else session.run(flow, given, options)
            )
        except KeyboardInterrupt:
            session.say_interrupted()
            code = INTERRUPTED
        if as_json:
            session.print_json()
    return code


def refuse_with_schedule(of_one_run: dict[str, object]) -> None:
    """Refuse options that are about one run together with `--schedule`."""
    for option, value in of_one_run.items():
        if value:
            raise click.UsageError(f"{option} is about one run, and --schedule makes many.")


def parameters_from(
    display: Display, params: tuple[str, ...], file: str | None, quiet: bool
) -> dict[str, Any]:
    """Return the parameters of file and options; options win, and a notice says so (R-CRUN-4)."""
    given = assignments(params, "--param")
    from_file = parameter_file(file) if file is not None else {}
    both = sorted(given.keys() & from_file.keys())
    if both and not quiet:
        names = "{" + ", ".join(map(repr, both)) + "}"
        display.notice(
            f"The following parameters were specified by file and CLI, the CLI value will be used: {names}"
        )
    return {**from_file, **given}


class Session:
    """
    One run of a flow by the command line, and what is printed about it.

    Args:
        display: prints.
        quiet: leave the lines around the logs out.
        run_name: name for the run, None for one of two words.
    """

    def __init__(self, display: Display, *, quiet: bool, run_name: str | None) -> None:
        self.display = display
        self.quiet = quiet
        self.run_name = run_name
        self.flow: Flow | None = None
        self.flow_run_id = ""
        self.lines: logging.Handler = logging.NullHandler()

    def prepare(self, stack: ExitStack, log_level: str | None, lowest: int | None) -> None:
        """Put this command's log lines in place, for what a file logs while it is loaded, too."""
        from tenuto.cli.log_lines import log_lines
        from tenuto.configuration import config

        if log_level is not None:
            config.logging.level = log_level
        self.lines = stack.enter_context(log_lines(self.display, level=log_level, lowest=lowest))

    def say(self, text: str, *, colour: str | None = None, end: str = "\n") -> None:
        """Print one of the lines around the logs."""
        if not self.quiet:
            self.display.line(text, colour=colour, end=end)

    # ------------------------------------------------------------------------------------------- retrieve

    def retrieve(self, path: str | None, module: str | None, name: str | None, compat: bool | None) -> Flow:
        """Find the flow, and say how that went."""
        try:
            with self._retrieving():
                return find_flow(path, module, name, compat)
        except LoadingFailed as failure:
            raise loading_error(self.display, failure) from failure.__cause__

    @contextmanager
    def _retrieving(self) -> Iterator[None]:
        text = "Retrieving local flow..."
        # On a terminal somebody waits; elsewhere the line is to stay one, whatever the file prints.
        shown_at_once = sys.stdout.isatty()
        if shown_at_once:
            self.say(text, end="")
        rest = " " if shown_at_once else f"{text} "
        try:
            yield
        except BaseException:
            self.say(f"{rest}Error", colour="red")
            raise
        self.say(f"{rest}Done", colour="green")

    # ------------------------------------------------------------------------------------------------ run

    def run(self, flow: Flow, given: dict[str, Any], options: dict[str, Any]) -> int:
        """Run the flow to its end, and return the exit code."""
        from tenuto._base.ids import new_flow_run_id
        from tenuto._base.names import two_words

        self.flow = flow
        self.flow_run_id = new_flow_run_id()
        self.run_name = self.run_name or two_words()
        options |= {"flow_run_id": self.flow_run_id, "flow_run_name": self.run_name}
        return self._run(flow, given, options, self._run_with_footer)

    def run_on_schedule(self, flow: Flow, given: dict[str, Any], options: dict[str, Any]) -> int:
        """Run the flow at each time of its schedule, and return the exit code of the last run."""
        from tenuto.client.shipping import shipped
        from tenuto.engine.launch import run_with_options
        from tenuto.engine.scheduled_runs import run_on_schedule

        if flow.schedule is None:
            raise Foreseen(
                f"The flow {flow.name!r} has no schedule.",
                "Leave --schedule out, or give the flow one: Flow(name, schedule=CronSchedule('0 9 * * *')).",
            )
        run_once = partial(run_with_options, ship=shipped)
        return self._run(flow, given, options, partial(run_on_schedule, run_once=run_once))

    def _run(
        self,
        flow: Flow,
        given: dict[str, Any],
        options: dict[str, Any],
        start: Callable[[Flow, dict[str, Any], dict[str, Any]], State],
    ) -> int:
        if given or "context" in options:
            self.say("Configured local flow run")
            self.say(f"{self.display.branch} Parameters: {shown_values(given)}")
            self.say(f"{self.display.branch} Context: {shown_values(options.get('context', {}))}")
        self.say("Running flow locally...")
        try:
            state = start(flow, given, options)
        except SystemExit as error:
            self.display.problem(f"The flow called sys.exit({error.code!r}) and ended.")
            self.say("Flow run failed!", colour="red")
            return 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # the boundary of user code
            # What leaves `flow.run` is the user's: a wrong parameter, an error that it was told to raise, or
            # one that is no task's failure, like GeneratorExit.
            self._print_failure(error, flow)
            return 1
        return self._conclude(state)

    def _run_with_footer(self, flow: Flow, given: dict[str, Any], options: dict[str, Any]) -> State:
        if self.quiet or not can_redraw(sys.stdout):
            return start(flow, given, options)
        from tenuto.cli.footer import Counts, footer_below
        from tenuto.core.nodes import Constant
        from tenuto.engine.progress import LOGGER_NAME

        # The footer shows it; the run's own log has it nevertheless.
        self.lines.addFilter(lambda record: not record.name.endswith(f".{LOGGER_NAME}"))
        counts = Counts(sum(not isinstance(task, Constant) for task in flow.tasks))
        options["task_runner_state_handlers"] = [counts.changed]
        with footer_below(self.display, counts):
            return start(flow, given, options)

    def _conclude(self, state: State) -> int:
        if state.is_successful():
            self.say("Flow run succeeded!", colour="green")
            return 0
        if state.is_failed():
            self.say("Flow run failed!", colour="red")
        else:
            self.say(f"Flow run is in unexpected state: {state!r}", colour="yellow")
        return 1

    def _print_failure(self, error: BaseException, flow: Flow) -> None:
        from tenuto.cli.tracebacks import user_traceback

        self.display.problem("Flow runner encountered an exception!")
        if self.display.debug:
            self.display.traceback(error)
        else:
            # Errors of ours tell what is wrong and have no frames of the user's.
            text = foreseen_text(error) if isinstance(error, PrefectException) else user_traceback(error)
            self.display.notice(textwrap.indent(text.rstrip("\n"), "    "), colour=None)
        for line in remedies(error, flow):
            self.display.notice(line, colour=None)
        self.say("Flow run failed!", colour="red")

    # ---------------------------------------------------------------------------------------- what remains

    def say_interrupted(self) -> None:
        """Say after Ctrl-C how to go on."""
        self.display.problem("Interrupted.")
        if self.flow is not None and self.recorded():
            from tenuto.engine.launch import continue_command

            self.display.notice(
                f"To continue this run: {continue_command(self.flow, self.run_name or self.flow_run_id)}",
                colour=None,
            )

    def recorded(self) -> bool:
        """Say whether there is a record of the run."""
        from tenuto.configuration import home_path
        from tenuto.journal.home import Home

        return bool(self.flow_run_id) and Home(home_path()).run_folder(self.flow_run_id).is_dir()

    def print_json(self) -> None:
        """Print the object by which REST and `history --json` show the run."""
        import json

        from tenuto.configuration import home_path
        from tenuto.journal.home import Home
        from tenuto.journal.runs import summarize

        summary = summarize(Home(home_path()).run_folder(self.flow_run_id)) if self.flow_run_id else None
        if summary is not None:
            self.display.result(json.dumps(summary.as_rest(), indent=2, ensure_ascii=False))
        elif self.flow is not None:
            self.display.notice("The run was not recorded: there is nothing to print as JSON.")


def start(flow: Flow, given: dict[str, Any], options: dict[str, Any]) -> State:
    """Run a flow as its `run` does, without its schedule (R-CLI-25)."""
    names = {parameter.name for parameter in flow.parameters()}
    if not names & options.keys():
        return flow.run(parameters=given, run_on_schedule=False, **options)
    # In `flow.run` a parameter called `context` or `resume` wins over the option of that name; on the command
    # line the two cannot be taken for each other.
    from tenuto.client.shipping import shipped
    from tenuto.engine.launch import run_with_options

    return run_with_options(flow, given, options, ship=shipped)


def shown_values(values: dict[str, Any]) -> str:
    """Return the text of parameters or context; what is a secret by its name or its value is hidden."""
    from tenuto._base.masking import MASK, mask
    from tenuto.journal.recorded import is_secret_name

    text = mask(repr({name: MASK if is_secret_name(name) else value for name, value in values.items()}))
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} characters)"


def foreseen_text(error: PrefectException) -> str:
    """Return what an error of ours says, with its notes."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def remedies(error: BaseException, flow: Flow) -> list[str]:
    """Return what to do about an error that `flow.run` foresees, a line each."""
    from tenuto.engine.given_parameters import MissingParameters, UnexpectedParameters

    if isinstance(error, MissingParameters):
        return [f"Give it with: --param {name}=VALUE" for name in error.names]
    if isinstance(error, UnexpectedParameters):
        known = sorted(parameter.name for parameter in flow.parameters())
        return [f"The flow's parameters are: {', '.join(known)}" if known else "The flow has no parameters."]
    return []
