"""What holds for every test: a home folder of its own, settings and logging put back, nothing left behind."""

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    import psutil

    from tests.fakes.postgres import PostgresServer

# How long a thread or process that a test has told to end may take over it.
ENDING_SECONDS_MAX = 2.0

# Helpers of `multiprocessing` that live as long as this process, whoever started them.
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "loky.backend.resource_tracker")

# No limits of time: machines are slow now and then. Explaining a failure takes minutes; shrinking is enough.
hypothesis.settings.register_profile(
    "tenuto",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],
)
hypothesis.settings.load_profile("tenuto")


def pytest_configure(config: pytest.Config) -> None:
    """Let no setting of the person who runs the tests be read when `tenuto` is imported."""
    for name in [name for name in os.environ if name.startswith(("TENUTO__", "PREFECT__"))]:
        del os.environ[name]
    empty_home = tempfile.TemporaryDirectory(prefix="tenuto-tests-")
    config.add_cleanup(empty_home.cleanup)
    os.environ["TENUTO__HOME_DIR"] = empty_home.name


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail the test that leaves a child process or a non-daemon thread; end the process."""
    threads_before = set(threading.enumerate())
    children_before = child_pids()
    yield
    deadline = time.monotonic() + ENDING_SECONDS_MAX
    threads = left_threads(threads_before)
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    names = [thread.name for thread in left_threads(threads_before)]
    assert not names, f"The test left these threads running: {names}"
    children = left_children(children_before)
    while children and time.monotonic() < deadline:
        time.sleep(0.02)
        children = left_children(children_before)
    texts = [ended(child) for child in children]
    assert not texts, f"The test left these processes: {texts}"


@pytest.fixture(scope="session")
def postgres() -> Iterator["PostgresServer"]:
    """Give the PostgreSQL that tests share; a test that stops it runs a `postgres_server()` of its own."""
    from tests.fakes.postgres import postgres_server

    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: "PostgresServer") -> Iterator[str]:
    """Give the URL of a new database."""
    with postgres.database() as url:
        yield url


@pytest.fixture(autouse=True)
def no_compat_left() -> Iterator[None]:
    """Take `import prefect` back, which the command line of this process gives to the files that it loads."""
    path = os.environ.get("PATH")
    yield
    shim = sys.modules.get("tenuto.compat.shim")
    if shim is not None and shim.is_installed():
        shim.uninstall()
        if path is not None:
            os.environ["PATH"] = path


@pytest.fixture(autouse=True)
def tenuto_home(
    nothing_left_running: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give the test, and commands it starts, a home folder that does not exist yet; return its path."""
    from tenuto._base.context import context
    from tenuto._base.masking import forget_secrets
    from tenuto.configuration import config

    home = tmp_path / "home"
    monkeypatch.setenv("TENUTO__HOME_DIR", str(home))
    settings = snapshot(config)
    contents = context.current()
    values = dict(contents)
    loggers = logger_settings()
    config.home_dir = str(home)
    try:
        yield home
    finally:
        restore(config, settings)
        # A test may have entered a content and not left it; below it is the one that all tests share.
        vars(context)["_contents"].set(None)
        contents.clear()
        contents.update(values)
        restore_loggers(loggers)
        forget_secrets()


# -------------------------------------------------------------------------------- threads, processes


def left_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]


def left_children(before: set[int]) -> "list[psutil.Process]":
    import psutil

    left = []
    for pid in child_pids() - before:
        try:
            child = psutil.Process(pid)
            if not any(helper in " ".join(child.cmdline()) for helper in HELPERS):
                left.append(child)
        except psutil.ZombieProcess:
            left.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return left


def child_pids() -> set[int]:
    """Return the children of this process. Each test asks twice: 0.05 ms on Linux; psutil takes 9 ms."""
    try:
        lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
        return child_pids()
    if lists:
        return {int(pid) for text in lists for pid in text.split()}
    import psutil

    return {child.pid for child in psutil.Process().children()}


def ended(process: "psutil.Process") -> str:
    """Kill a process that a test has left, and return what it was."""
    import psutil

    try:
        text = f"{process.pid} {' '.join(process.cmdline())}"
        process.kill()
        process.wait(ENDING_SECONDS_MAX)
    except psutil.ZombieProcess:
        return f"{process.pid} (ended, but nobody waited for it)"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone meanwhile)"
    return text


# -------------------------------------------------------------------------------- settings, logging


def snapshot(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: snapshot(value) if isinstance(value, Mapping) else value for key, value in settings.items()}


def restore(settings: dict[str, Any], saved: Mapping[str, Any]) -> None:
    """Put `saved` back in place: other modules hold sections of the settings, not only the whole."""
    for key in [key for key in settings if key not in saved]:
        del settings[key]
    for key, value in saved.items():
        section = settings.get(key)
        if isinstance(value, dict) and isinstance(section, dict):
            restore(section, value)
        else:
            settings[key] = value


LoggerSettings = dict[logging.Logger, tuple[int, bool, bool, list[logging.Handler], list[Any]]]


def all_loggers() -> Iterator[logging.Logger]:
    yield logging.root
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def logger_settings() -> LoggerSettings:
    return {
        logger: (
            logger.level,
            logger.propagate,
            logger.disabled,
            list(logger.handlers),
            list(logger.filters),
        )
        for logger in all_loggers()
    }


def restore_loggers(saved: LoggerSettings) -> None:
    for logger in all_loggers():
        if logger not in saved and not logger.name.startswith("tenuto"):
            continue  # A library that was imported meanwhile; its loggers are its own.
        level, propagate, disabled, handlers, filters = saved.get(
            logger, (logging.NOTSET, True, False, [], [])
        )
        if logger.level != level:
            logger.setLevel(level)
        logger.propagate = propagate
        logger.disabled = disabled
        logger.handlers[:] = handlers
        logger.filters[:] = filters
