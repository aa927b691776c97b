"""The benchmarks' own arithmetic; what they measure is looked at by people, not by tests."""

import json
from dataclasses import asdict

import pytest

from benchmarks import run
from benchmarks.harness import figure, in_turns, quartiles, table


def test_cases_are_measured_in_turns_after_a_round_to_warm_up() -> None:
    order: list[str] = []

    def case(name: str, took: float) -> float:
        order.append(name)
        return took

    measured = in_turns({"a": lambda: case("a", 1.0), "b": lambda: case("b", 2.0)}, rounds=2)
    assert measured == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # The second round was disturbed: both took ten times as long, and their ratio is what it was.
    found = figure("q", "us", [6.0, 60.0, 6.0], floor=[2.0, 20.0, 3.0], ratio_max=3)
    assert found.ratio == 3.0
    assert found.holds is True
    assert found.floor == 3.0


@pytest.mark.parametrize(("limit", "holds"), [(2.0, True), (1.9, False)])
def test_budget_holds_up_to_its_limit(limit: float, holds: bool) -> None:
    assert figure("q", "us", [2.0], floor=[1.0], ratio_max=limit).holds is holds
    assert figure("q", "ms", [2.0], median_max=limit).holds is holds


def test_figure_without_a_budget_neither_holds_nor_fails() -> None:
    assert figure("q", "us", [1.0, 2.0, 3.0]).holds is None


def test_quartiles_of_one_sample_are_that_sample() -> None:
    assert quartiles([4.0]) == (4.0, 4.0, 4.0)


def test_table_shows_missed_budgets() -> None:
    lines = table([figure("slow", "us", [5.0], floor=[1.0], floor_name="us: loop", ratio_max=3)]).splitlines()
    assert lines[1].split("  ")[0] == "slow"
    assert "<= 3 x floor" in lines[1]
    assert lines[1].endswith("MISSED")


def test_runner_finds_benchmarks_by_words() -> None:
    assert "task_overhead" in run.chosen([])
    assert run.chosen(["overhead"]) == ["task_overhead"]
    assert run.chosen(["nothing like that"]) == []


def test_comparison_tells_how_ratios_moved() -> None:
    before = figure("q", "us", [2.0], floor=[1.0])
    earlier = json.loads(json.dumps({"machine": {"cores": 2}, "figures": [asdict(before)]}))
    lines = run.comparison([figure("q", "us", [3.0], floor=[1.0]), figure("r", "us", [1.0])], earlier)
    assert lines.splitlines()[1:] == ["q: 2 -> 3 (+50 %)", "r: new"]
