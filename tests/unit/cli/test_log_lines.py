import logging
import re

import pytest

from tenuto._base.logging import get_logger, redirect_stdout_to
from tenuto._base.masking import register_secret
from tenuto.cli.display import Display
from tenuto.cli.log_lines import log_lines, log_text
from tenuto.configuration import config
from tenuto.engine.state import state_class

LINE = re.compile(r"└── \d\d:\d\d:\d\d \| (?P<level>.{7}) \| (?P<message>.*)")


Capture = pytest.CaptureFixture[str]


def lines(capsys: Capture) -> list[tuple[str, str]]:
    """Return level and message of each line that was printed."""
    found = []
    for line in capsys.readouterr().out.splitlines():
        match = LINE.fullmatch(line)
        assert match is not None, line
        found.append((match["level"], match["message"]))
    return found


def test_lines_have_time_level_and_message(capsys: Capture) -> None:  # R-CRUN-3, R-CLI-19
    with log_lines(Display(), level=None, lowest=logging.NOTSET):
        get_logger("TaskRunner").info("Task %r: Starting task run...", "load")
        get_logger().warning("careful")
    assert lines(capsys) == [("INFO   ", "Task 'load': Starting task run..."), ("WARNING", "careful")]


def test_the_usual_lines_are_back_afterwards(capsys: Capture) -> None:
    before = get_logger().handlers[:], get_logger().level
    with log_lines(Display(), level="DEBUG", lowest=logging.NOTSET):
        get_logger().debug("now")
    assert lines(capsys) == [("DEBUG  ", "now")]
    assert (get_logger().handlers, get_logger().level) == before


def test_a_level_holds_for_all_loggers(capsys: Capture) -> None:  # R-CRUN-2
    config.logging.extra_loggers = ["library"]
    with log_lines(Display(), level="WARNING", lowest=logging.NOTSET):
        for logger in (get_logger("x"), logging.getLogger("library")):
            logger.info("not this")
            logger.warning("this")
    assert lines(capsys) == [("WARNING", "this"), ("WARNING", "this")]


def test_what_is_not_printed_is_still_logged(capsys: Capture) -> None:  # R-CRUN-8
    seen: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    with log_lines(Display(), level=None, lowest=logging.ERROR):
        get_logger().addHandler(Recorder())
        get_logger().info("quiet")
        get_logger().error("loud")
    assert lines(capsys) == [("ERROR  ", "loud")]
    assert seen == ["quiet", "loud"]


def test_none_prints_nothing(capsys: Capture) -> None:  # R-CRUN-8, R-CLI-24
    with log_lines(Display(), level=None, lowest=None):
        get_logger().critical("unseen")
    assert capsys.readouterr().out == ""


def test_a_traceback_has_the_frames_of_the_user_only(capsys: Capture) -> None:  # R-CLI-12
    seen: list[str | None] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.exc_text)

    with log_lines(Display(), level=None, lowest=logging.NOTSET):
        get_logger().addHandler(Recorder())
        try:
            state_class("Hovering")
        except ValueError:
            get_logger().exception("failed")
    text = capsys.readouterr().out
    assert "test_a_traceback_has_the_frames_of_the_user_only" in text
    assert "state.py" not in text
    assert seen == [None], "other handlers format the exception for themselves"


def test_a_full_traceback_with_debug(capsys: Capture) -> None:  # R-CLI-12
    display = Display()
    display.debug = True
    with log_lines(display, level=None, lowest=logging.NOTSET):
        try:
            state_class("Hovering")
        except ValueError:
            get_logger().exception("failed")
    assert "state.py" in capsys.readouterr().out


def test_secrets_are_hidden(capsys: Capture) -> None:
    register_secret("hunter22")
    with log_lines(Display(), level=None, lowest=logging.NOTSET):
        get_logger().info("the word is hunter22")
    assert lines(capsys) == [("INFO   ", "the word is ****")]


def test_lines_go_past_the_redirection_of_tasks(capsys: Capture) -> None:
    with (
        log_lines(Display(), level=None, lowest=logging.NOTSET),
        redirect_stdout_to(get_logger("TaskRunner")),
    ):
        print("from a task")
    assert lines(capsys) == [("INFO   ", "from a task")]


def test_ascii_signs(capsys: Capture) -> None:  # R-CLI-7
    display = Display()
    display.ascii = True
    with log_lines(display, level=None, lowest=logging.NOTSET):
        get_logger().info("plain")
    assert capsys.readouterr().out.startswith("|-- ")


def test_recorded_lines_have_the_same_form() -> None:
    found = LINE.fullmatch(log_text(Display(), 1_700_000_000_000_000, logging.ERROR, "broken"))
    assert found is not None
    assert found.groups() == ("ERROR  ", "broken")
