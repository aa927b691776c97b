"""The tables of a migration agree with what Tenuto has."""

import pytest

from tenuto._base.left_out import advice_about
from tenuto.compat.migration.addresses import MOVED, below, prefixes, today
from tenuto.compat.migration.advice import ADVICE, missing_advice
from tenuto.tasks.database import SQLiteQuery
from tenuto.utilities.notifications import jira_notifier

# Rooms of which only parts are not there.
PARTLY_THERE = {"agent", "cli", "tasks"}


@pytest.mark.parametrize("address", MOVED.values())
def test_what_moved_is_where_the_table_says(address: str) -> None:  # R-REAL-2
    assert missing_advice(address) is None


@pytest.mark.parametrize("address", ADVICE)
def test_advice_is_about_what_is_not_there(address: str) -> None:
    assert (missing_advice(address) is None) == (address in PARTLY_THERE)


@pytest.mark.parametrize(
    ("older", "newer", "moved"),
    [
        ("engine.executors", "executors", 2),
        ("engine.executors.dask.DaskExecutor", "executors.dask.DaskExecutor", 2),
        ("utilities.exceptions.PrefectError", "exceptions.PrefectException", 3),
        ("engine.executorsx", "engine.executorsx", 0),
        ("", "", 0),
    ],
)
def test_the_longest_older_address_counts(older: str, newer: str, moved: int) -> None:
    assert today(older) == (newer, moved)


def test_addresses_are_taken_apart_at_their_dots() -> None:
    assert list(prefixes("a.b.c")) == ["a.b.c", "a.b", "a"]
    assert below("a.b.c", "a") == "b.c"
    assert below("a.b", "a.b") == ""
    assert below("a.b", "") == "a.b"
    assert below("ab.c", "a") is None


def test_what_raises_when_it_is_used_says_what_to_do_instead() -> None:
    class Mine(SQLiteQuery):  # type: ignore[misc, valid-type]  # a class made by a function
        pass

    assert advice_about(SQLiteQuery) == missing_advice("tasks.database.SQLiteQuery")
    assert advice_about(jira_notifier) == missing_advice("utilities.notifications.jira_notifier")
    assert advice_about(Mine) is None
    assert advice_about(SQLiteQuery.__init__) is None
    assert advice_about("text") is None


@pytest.mark.parametrize(
    "address", ["", "context.whatever", "config.mine", "engine.state.Failed.mine", "_private.thing"]
)
def test_only_names_of_modules_are_judged(address: str) -> None:
    assert missing_advice(address) is None


def test_what_is_misspelled_is_told_the_name_that_comes_near() -> None:
    assert missing_advice("engine.results.LocalResults") == "Is tenuto.engine.results.LocalResult meant?"
    assert missing_advice("engine.zzz") == (
        "Nothing takes its place: write what it did as a function of your own."
    )
