"""Loggers, formats, attributes of records, and stdout that becomes records."""

import contextlib
import importlib
import io
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tenuto._base import logging as ours
from tenuto._base import masking
from tenuto._base.context import context
from tenuto._base.logging import redirect_stdout_to
from tenuto._base.temporary_config import set_temporary_config
from tenuto.configuration import config
from tenuto.utilities.logging import (
    RedirectToLog,
    configure_extra_loggers,
    configure_logging,
    create_diagnostic_logger,
    get_logger,
    temporary_logger_config,
)


@pytest.fixture(autouse=True)
def default_logging() -> Iterator[None]:
    """The package's logger as an import leaves it, whatever a test does to it."""
    logger = get_logger()
    before = logger.level, list(logger.handlers), logger.propagate
    configure_logging()
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]
    logger.propagate = before[2]


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def task_runner() -> Iterator[logging.Logger]:
    logger = get_logger("TaskRunner")
    yield logger
    logger.handlers.clear()


def collected(logger: logging.Logger) -> list[logging.LogRecord]:
    handler = Collector()
    handler.addFilter(ours.ContextFilter())
    logger.addHandler(handler)
    return handler.records


def python(code: str, **environment: str) -> str:
    """Run `code` in a process of its own and return what it printed."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("TENUTO__", "PREFECT__"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_gives_the_package_logger_one_handler_and_leaves_root_alone() -> None:
    # R-LOG-1
    printed = python(
        "import logging, sys; before = list(logging.getLogger().handlers); import tenuto\n"
        "logger = logging.getLogger('tenuto')\n"
        "streams = [h for h in logger.handlers if isinstance(h, logging.StreamHandler)]\n"
        "print(len(streams), streams[0].stream is sys.stdout, logging.getLogger().handlers == before,"
        " logger.propagate, logger.level)"
    )
    assert printed == "1 True True True 20\n"


def test_importing_again_adds_no_second_handler(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-1, recommendation
    importlib.reload(ours)
    configure_logging()
    get_logger().warning("once")
    assert capsys.readouterr().out.count("once") == 1


def test_records_reach_the_root_logger(caplog: pytest.LogCaptureFixture) -> None:
    # R-LOG-1
    with caplog.at_level(logging.INFO):
        get_logger("TaskRunner").info("seen by root")
    assert [record.getMessage() for record in caplog.records] == ["seen by root"]


def test_lines_have_the_format_of_the_tutorial(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-2
    get_logger("TaskRunner").info("Model accuracy on test set: %s", 93.33)
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}\] "
        r"INFO - tenuto\.TaskRunner \| Model accuracy on test set: 93\.33\n",
        capsys.readouterr().out,
    )


def test_time_is_that_of_each_record_and_local(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-2: the text of a second is made once, but never shown for another second
    formatter = ours.LogFormatter("%(asctime)s", config.logging.datefmt)
    plain = logging.Formatter("%(asctime)s", config.logging.datefmt)
    for created in (1636198876.9, 1636198876.1, 1636198877.0, 1636198876.5):
        record = logging.makeLogRecord({"created": created})
        assert formatter.format(record) == plain.format(record)
    record = logging.makeLogRecord({"created": 1636198876.5})
    other = ours.LogFormatter("%(asctime)s", "%H")
    assert other.format(record) == logging.Formatter("%(asctime)s", "%H").format(record)
    assert "," in ours.LogFormatter("%(asctime)s").format(record)


def test_logger_names_are_children_of_the_package() -> None:
    # R-LOG-4
    assert get_logger() is logging.getLogger("tenuto")
    assert get_logger("x") is logging.getLogger("tenuto.x")
    assert get_logger("x.y").parent is get_logger("x")


def test_loggers_of_mapped_children_are_not_kept_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-3: their names carry the index
    child = get_logger("load[3]")
    assert child.name == "tenuto.load[3]"
    assert child.name not in logging.Logger.manager.loggerDict
    child.info("from the child")
    assert "INFO - tenuto.load[3] | from the child" in capsys.readouterr().out
    get_logger("load").setLevel(logging.ERROR)
    assert not get_logger("load[4]").isEnabledFor(logging.INFO)
    get_logger("load").setLevel(logging.NOTSET)


def test_package_logger_is_in_the_context_outside_of_runs() -> None:
    # R-LOG-5
    assert context.logger is context.get("logger") is context["logger"] is get_logger()


def test_printed_lines_become_info_records(
    task_runner: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    # R-LOG-6, R-LOG-7 with D-7: one record per line, the rest at the end, blank lines dropped
    records = collected(task_runner)
    with redirect_stdout_to(task_runner):
        print("a", "b", 3)
        print("two\nlines")
        print()
        print("  \t")
        print("un", end="", flush=True)
        print("finished", end="")
        print("to stderr", file=sys.stderr)
    print("plain again")
    assert [record.getMessage() for record in records] == ["a b 3", "two", "lines", "unfinished"]
    assert {record.levelno for record in records} == {logging.INFO}
    captured = capsys.readouterr()
    assert captured.err == "to stderr\n"
    assert captured.out.endswith("plain again\n")
    assert "INFO - tenuto.TaskRunner | a b 3\n" in captured.out


def test_rest_of_a_line_is_logged_when_the_block_fails(task_runner: logging.Logger) -> None:
    # R-LOG-6: errors are unaffected
    records = collected(task_runner)
    before = sys.stdout

    def fail() -> None:
        with redirect_stdout_to(task_runner):
            print("half", end="")
            raise RuntimeError("as it was")

    with pytest.raises(RuntimeError, match="as it was"):
        fail()
    assert [record.getMessage() for record in records] == ["half"]
    assert sys.stdout is before


def test_prints_of_other_threads_are_left_alone(
    task_runner: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    # R-LOG-8, recommendation
    records = collected(task_runner)
    inside, printed = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait(5)
        print("of another thread")
        printed.set()

    thread = threading.Thread(target=other)
    thread.start()
    with redirect_stdout_to(task_runner):
        inside.set()
        printed.wait(5)
        print("mine")
    thread.join()
    assert [record.getMessage() for record in records] == ["mine"]
    assert "\nof another thread\n" in "\n" + capsys.readouterr().out


def test_two_threads_log_their_own_lines_and_stdout_is_given_back() -> None:
    # R-LOG-8, recommendation
    before = sys.stdout
    barrier = threading.Barrier(2)
    answers: dict[str, list[str]] = {}

    def work(name: str) -> None:
        logger = get_logger(f"{name}[0]")  # one that nobody else has
        records = collected(logger)
        with redirect_stdout_to(logger):
            barrier.wait(5)
            for number in range(20):
                print(name, number)
            barrier.wait(5)
        answers[name] = [record.getMessage() for record in records]

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {name: [f"{name} {number}" for number in range(20)] for name in ("a", "b")}
    assert sys.stdout is before


def test_inner_redirection_of_the_user_wins(task_runner: logging.Logger) -> None:
    records = collected(task_runner)
    own = io.StringIO()
    with redirect_stdout_to(task_runner):
        with contextlib.redirect_stdout(own):
            print("to the user's stream")
        print("logged")
    assert own.getvalue() == "to the user's stream\n"
    assert [record.getMessage() for record in records] == ["logged"]


def test_handler_that_prints_does_not_log_its_own_output(
    task_runner: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("printed by a handler")

    task_runner.addHandler(Printing())
    with redirect_stdout_to(task_runner):
        print("one")
    assert capsys.readouterr().out.count("printed by a handler") == 1


def test_redirected_stdout_has_the_rest_of_a_stream(task_runner: logging.Logger) -> None:
    before = sys.stdout
    with redirect_stdout_to(task_runner):
        assert sys.stdout.encoding == before.encoding
        assert sys.stdout.isatty() == before.isatty()
        sys.stdout.flush()


def test_stream_takes_text_only(task_runner: logging.Logger) -> None:
    # R-LOG-9
    stream = RedirectToLog(task_runner)
    with pytest.raises(TypeError, match="must be str, not bytes"):
        stream.write(b"bytes")  # type: ignore[arg-type]  # the mistake under test
    records = collected(task_runner)
    assert stream.write("text\n") == 5
    stream.write("rest")
    stream.flush()
    assert [record.getMessage() for record in records] == ["text"]
    stream.close()
    assert [record.getMessage() for record in records] == ["text", "rest"]
    assert RedirectToLog().logger is get_logger()


def test_level_and_formats_come_from_the_configuration() -> None:
    # R-LOG-10
    printed = python(
        "import tenuto; tenuto.utilities.logging.get_logger('x').debug('hi')",
        TENUTO__LOGGING__LEVEL="DEBUG",
        TENUTO__LOGGING__FORMAT="%(asctime)s %(levelname)s %(message)s",
        TENUTO__LOGGING__DATEFMT="now",
    )
    assert printed == "now DEBUG hi\n"


def test_unknown_level_is_a_warning_and_info_is_used() -> None:
    with (
        set_temporary_config({"logging": {**config.logging, "level": "LOUD"}}),
        pytest.warns(UserWarning, match="'LOUD' is no level"),
    ):
        assert configure_logging(testing=True).level == logging.INFO


def test_temporary_level_in_the_configuration_takes_effect_at_once() -> None:
    # R-CFG-7, R-LOG-10
    with set_temporary_config({"logging.level": "ERROR"}):
        assert not get_logger("x").isEnabledFor(logging.WARNING)
    assert get_logger("x").isEnabledFor(logging.INFO)


@pytest.mark.parametrize("names", [["outside"], "outside"])
def test_extra_loggers_get_level_and_handlers(names: Any, capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-11
    extra = logging.getLogger("outside")
    try:
        with set_temporary_config({"logging.extra_loggers": names}):
            configure_extra_loggers()
            configure_extra_loggers()
        assert extra.level == get_logger().level
        extra.info("hello from outside")
        assert capsys.readouterr().out.count("INFO - outside | hello from outside") == 1
    finally:
        extra.handlers.clear()
        extra.setLevel(logging.NOTSET)


def test_extra_loggers_can_be_a_text_of_a_list() -> None:
    # R-LOG-11
    printed = python(
        "import tenuto, logging; logging.getLogger('kedro').info('hi')",
        PREFECT__LOGGING__EXTRA_LOGGERS="['kedro', 'other']",
        TENUTO__LOGGING__FORMAT="%(name)s %(message)s",
    )
    assert printed == "kedro hi\n"


def test_records_always_have_the_attributes_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-12 with its recommendation
    fmt = "%(flow_name)s %(flow_run_id)s %(task_name)s %(task_slug)s %(task_run_id)s"
    with temporary_logger_config(stream_fmt=fmt):
        get_logger().info("outside")
        with context(flow_name="f", flow_run_id="1", task_name="t", task_slug="t-1", task_run_id="2"):
            get_logger("TaskRunner").info("inside")
    captured = capsys.readouterr()
    assert captured.out == "- - - - -\nf 1 t t-1 2\n"
    assert captured.err == ""


def test_records_have_the_attributes_named_in_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-12
    with (
        set_temporary_config({"logging.log_attributes": ["mine", "absent"]}),
        temporary_logger_config(stream_fmt="%(mine)s %(absent)s"),
        context(mine=5),
    ):
        get_logger().info("x")
    assert capsys.readouterr().out == "5 None\n"


def test_attributes_given_by_the_caller_stay() -> None:
    records = collected(get_logger("TaskRunner"))
    with context(flow_name="of the context"):
        get_logger("TaskRunner").info("x", extra={"flow_name": "of the caller"})
    assert (records[0].__dict__["flow_name"], records[0].__dict__["task_run_id"]) == ("of the caller", "-")
    get_logger("TaskRunner").handlers.clear()


def test_records_of_other_loggers_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    # R-LOG-13, recommendation
    with context(flow_name="f"):
        logging.getLogger("unrelated").warning("x")
    assert "flow_name" not in caplog.records[0].__dict__


def test_format_can_be_changed_for_a_block(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_logger("TaskRunner")
    with temporary_logger_config(
        level=logging.WARNING, stream_fmt="%(asctime)s %(message)s", stream_datefmt="then"
    ):
        logger.info("dropped")
        logger.warning("kept")
    assert capsys.readouterr().out == "then kept\n"
    with pytest.raises(RuntimeError), temporary_logger_config(level="ERROR"):
        raise RuntimeError
    logger.info("as before")
    assert "INFO - tenuto.TaskRunner | as before" in capsys.readouterr().out


def test_diagnostic_logger_is_apart_from_the_package(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logger = create_diagnostic_logger("tenuto-diagnosis")
    try:
        assert create_diagnostic_logger("tenuto-diagnosis").handlers == logger.handlers
        logger.info("hello")
        assert capsys.readouterr().out.count("INFO - tenuto-diagnosis | hello") == 1
        assert not caplog.records
    finally:
        logger.handlers.clear()


def test_logger_for_looking_is_a_different_one() -> None:
    testing = configure_logging(testing=True)
    try:
        assert testing is not get_logger()
        assert len(configure_logging(testing=True).handlers) == 1
    finally:
        testing.handlers.clear()


def test_registered_secrets_are_hidden_in_lines_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    # S-18 (reliability 5)
    masking.register_secret("canary-secret")
    try:
        try:
            raise ValueError("found canary-secret")
        except ValueError:
            get_logger().exception("got %s", "canary-secret")
    finally:
        masking.forget_secrets()
    shown = capsys.readouterr().out
    assert "got ****" in shown
    assert "ValueError: found ****" in shown
    assert "canary" not in shown


def test_handler_can_be_pointed_at_another_stream(capsys: pytest.CaptureFixture[str]) -> None:
    own = io.StringIO()
    handler = next(handler for handler in get_logger().handlers if isinstance(handler, logging.StreamHandler))
    handler.setStream(own)
    get_logger().info("elsewhere")
    assert "elsewhere" in own.getvalue()
    assert capsys.readouterr().out == ""


def test_program_without_stdout_can_log(monkeypatch: pytest.MonkeyPatch, task_runner: logging.Logger) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    records = collected(task_runner)
    with redirect_stdout_to(task_runner):
        print("still logged")
    assert [record.getMessage() for record in records] == ["still logged"]


def test_line_that_cannot_be_written_does_not_stop_the_caller(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    get_logger().info("lost")
    assert "closed file" in capsys.readouterr().err
