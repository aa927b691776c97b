"""
The iris project without Tenuto: the same functions, called one after the other.

This is where a project begins, and what the benchmark compares the flows with. Nothing is recorded here,
nothing is kept when a step fails, and no parameter can be given on the command line.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parent
RAW_DATA = PROJECT / "data" / "raw" / "iris.csv"
PROCESSED_DATA = PROJECT / "data" / "processed"


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


def load_data(path: Path) -> pd.DataFrame:
    """Read the raw data: four measures in centimetres and the species, one row a flower."""
    return pd.read_csv(path)


def get_classes(data: pd.DataFrame, target_col: str) -> list[str]:
    """List the classes of the data set, in alphabetical order."""
    return sorted(data[target_col].unique())


def encode_categorical_columns(data: pd.DataFrame, target_col: str) -> pd.DataFrame:
    """Replace the target column by one column of 0.0 and 1.0 per class, named as the class."""
    return pd.get_dummies(data, columns=[target_col], prefix="", prefix_sep="", dtype=float)


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


def train_model(
    train_x: pd.DataFrame, train_y: pd.DataFrame, n_steps: int, learning_rate: float
) -> np.ndarray:
    """Fit a multinomial logistic regression by gradient descent: weights, bias and features by classes."""
    features, labels = with_bias(train_x), train_y.to_numpy()
    weights = np.zeros((features.shape[1], labels.shape[1]))
    for _ in range(n_steps):
        error = softmax(features @ weights) - labels
        weights -= learning_rate * features.T @ error / len(features)
    return weights


def predict(weights: np.ndarray, test_x: pd.DataFrame) -> np.ndarray:
    """Return the number of the most probable class for each flower."""
    classes: np.ndarray = np.argmax(with_bias(test_x) @ weights, axis=1)
    return classes


def report_accuracy(predictions: np.ndarray, test_y: pd.DataFrame) -> float:
    """Print, and return, the share of right predictions."""
    target = np.argmax(test_y.to_numpy(), axis=1)
    accuracy = float(np.mean(predictions == target))
    print(f"Model accuracy on test set: {round(accuracy * 100, 2)}")
    return accuracy


def with_bias(features: pd.DataFrame) -> np.ndarray:
    return np.hstack([np.ones((len(features), 1)), features.to_numpy()])


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def data_engineer(target_col: str = "species", test_data_ratio: float = 0.2) -> None:
    data = load_data(path=save_raw_data(RAW_DATA))
    classes = get_classes(data=data, target_col=target_col)
    categorical_columns = encode_categorical_columns(data=data, target_col=target_col)
    train_test_dict = split_data(data=categorical_columns, test_data_ratio=test_data_ratio, classes=classes)

    PROCESSED_DATA.mkdir(parents=True, exist_ok=True)
    with open(PROCESSED_DATA / f"plain-{test_data_ratio}.pickle", "wb") as file:
        pickle.dump(train_test_dict, file)


def data_science(test_data_ratio: float = 0.2, n_steps: int = 1000, learning_rate: float = 0.1) -> None:
    with open(PROCESSED_DATA / f"plain-{test_data_ratio}.pickle", "rb") as file:
        split = pickle.load(file)

    weights = train_model(split["train_x"], split["train_y"], n_steps, learning_rate)
    predictions = predict(weights, split["test_x"])
    report_accuracy(predictions, split["test_y"])


if __name__ == "__main__":
    data_engineer()
    data_science()
