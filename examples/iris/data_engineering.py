"""
The first half of the iris project: from raw data to a training set and a test set.

Run it from anywhere:

    python data_engineering.py
    tenuto run -p data_engineering.py --param test_data_ratio=0.3
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tenuto
from tenuto import Flow, Parameter, task
from tenuto.engine.results import LocalResult

PROJECT = Path(__file__).resolve().parent
RAW_DATA = PROJECT / "data" / "raw" / "iris.csv"
PROCESSED_DATA = PROJECT / "data" / "processed"

# Tasks with a `result` write what they return only where checkpointing is on. Here the project switches it
# on, so that it holds however the flow is run, and nobody has to remember an environment variable.
tenuto.config.flows.checkpointing = True


@task
def save_raw_data(path: Path) -> Path:
    """Save the iris data that scikit-learn brings along as a CSV file, unless the file is there already."""
    if not path.exists():
        from sklearn.datasets import load_iris  # slow to import, and needed once

        iris = load_iris(as_frame=True)
        data = iris.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
        data["species"] = iris.target_names[iris.target]
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_csv(path, index=False)
    return path


@task
def load_data(path: Path) -> pd.DataFrame:
    """Read the raw data: four measures in centimetres and the species, one row a flower."""
    return pd.read_csv(path)


@task
def get_classes(data: pd.DataFrame, target_col: str) -> list[str]:
    """List the classes of the data set, in alphabetical order."""
    return sorted(data[target_col].unique())


@task
def encode_categorical_columns(data: pd.DataFrame, target_col: str) -> pd.DataFrame:
    """Replace the target column by one column of 0.0 and 1.0 per class, named as the class."""
    return pd.get_dummies(data, columns=[target_col], prefix="", prefix_sep="", dtype=float)


@task(target="split-{test_data_ratio}.pickle", result=LocalResult(dir=PROCESSED_DATA))
def split_data(data: pd.DataFrame, test_data_ratio: float, classes: list[str]) -> dict[str, Any]:
    """Shuffle the rows, and split them into training and test sets, each into features and labels."""
    order = np.random.default_rng(seed=1936).permutation(len(data))
    shuffled = data.iloc[order].reset_index(drop=True)
    n_test = round(len(shuffled) * test_data_ratio)
    test, train = shuffled.iloc[:n_test], shuffled.iloc[n_test:]
    return {
        "train_x": train.drop(columns=classes),
        "train_y": train[classes],
        "test_x": test.drop(columns=classes),
        "test_y": test[classes],
    }


with Flow("data-engineer") as flow:
    target_col = Parameter("target_col", default="species")
    test_data_ratio = Parameter("test_data_ratio", default=0.2)

    data = load_data(path=save_raw_data(RAW_DATA))
    classes = get_classes(data=data, target_col=target_col)
    categorical_columns = encode_categorical_columns(data=data, target_col=target_col)
    train_test_dict = split_data(data=categorical_columns, test_data_ratio=test_data_ratio, classes=classes)


if __name__ == "__main__":
    state = flow.run()
    raise SystemExit(0 if state.is_successful() else 1)
