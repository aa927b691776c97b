"""The flows of the tutorials, as a type checker sees them: every line here must be accepted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

import numpy as np
import pandas as pd

from tenuto import Flow, Parameter, apply_map, case, flatten, mapped, tags, task, unmapped
from tenuto.engine.results import LocalResult
from tenuto.engine.state import State
from tenuto.tasks.control_flow import merge


@task
def load_data(path: str) -> pd.DataFrame:
    return pd.read_csv(path)


@task
def get_classes(data: pd.DataFrame, target_col: str) -> list[str]:
    return sorted(data[target_col].unique())


@task
def encode_categorical_columns(data: pd.DataFrame, target_col: str) -> pd.DataFrame:
    return pd.get_dummies(data, columns=[target_col], prefix="", prefix_sep="")


@task(result=LocalResult(dir="data/processed"), log_stdout=True)
def split_data(data: pd.DataFrame, test_data_ratio: float, classes: list[str]) -> dict[str, Any]:
    return {"train_x": data, "classes": classes, "ratio": test_data_ratio}


@task(max_retries=2, retry_delay=timedelta(seconds=1), tags=["model"])
def train_model(
    train_x: pd.DataFrame, train_y: pd.DataFrame, num_iter: int, lr: float
) -> np.ndarray[Any, Any]:
    return np.zeros((num_iter, int(1 / lr)))


@task(nout=2)
def bounds(model: np.ndarray[Any, Any]) -> tuple[float, float]:
    return float(model.min()), float(model.max())


@task(log_stdout=True)
def report_accuracy(low: float, high: float, label: str = "n/a") -> None:
    print(f"Model accuracy on test set: {label} {round((high - low) * 100, 2)}")


@task
async def fetch(page: int) -> list[int]:
    return [page]


with Flow("data-engineer") as engineer:
    target_col = Parameter("target_col", default="species")
    test_data_ratio = Parameter("test_data_ratio", default=0.2)
    with tags("io"):
        data = load_data(path="data/raw/iris.csv")
    classes = get_classes(data=data, target_col=target_col)
    categorical_columns = encode_categorical_columns(data=data, target_col=target_col)
    train_test_dict = split_data(data=categorical_columns, test_data_ratio=test_data_ratio, classes=classes)

assert_type(data, pd.DataFrame)
assert_type(classes, list[str])
assert_type(train_test_dict, dict[str, Any])
assert_type(load_data.run("a.csv"), pd.DataFrame)
assert_type(load_data.map(["a.csv"]), list[pd.DataFrame])
assert_type(load_data.copy(name="other").run("a.csv"), pd.DataFrame)

with Flow("data-science") as science:
    # [seed S-18]: by position.
    model = train_model(train_test_dict["train_x"], train_test_dict["train_y"], 10, 0.5)
    low, high = bounds(model)
    done = report_accuracy(low, high, upstream_tasks=[engineer], task_args={"name": "report"})
    again = report_accuracy(low, high, label="again", flow=science)
    pages = fetch(3)
    more = fetch.map([1, 2], upstream_tasks=[pages])
    each = fetch(mapped([1, 2]), mapped=True)
    with case(done, None):
        small = bounds(unmapped(model))
    merged = merge(small, again)
    applied = apply_map(fetch, flatten([[1], [2]]))
science.set_reference_tasks([done, merged])

assert_type(low, float)
assert_type(pages, list[int])
assert_type(more, list[list[int]])
assert_type(each, list[int])

state = science.run(parameters={"test_data_ratio": 0.3})
assert_type(state, State)
value = state.result[model].result
science.upstream_tasks(done)
science.replace(low, 3)
