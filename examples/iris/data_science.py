"""
The second half of the iris project: learn from the training set, and report the accuracy on the test set.

Run data_engineering.py first, then this one from anywhere:

    python data_science.py
    tenuto run -p data_science.py --param n_steps=2000
"""

from pathlib import Path

import numpy as np
import pandas as pd

from tenuto import Flow, Parameter, task
from tenuto.engine.results import LocalResult
from tenuto.engine.signals import FAIL

PROJECT = Path(__file__).resolve().parent
PROCESSED_DATA = PROJECT / "data" / "processed"


@task
def load_split(test_data_ratio: float) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Read what the data-engineer flow left: features and labels for training, then those for testing."""
    # In a task, not while the flow is built: so the flow can be drawn, and planned, before there is any data.
    location = f"split-{test_data_ratio}.pickle"
    if not LocalResult(dir=PROCESSED_DATA).exists(location):
        raise FAIL(f"There is no {location}. Make it: data_engineering.py, with the same test_data_ratio.")
    split = LocalResult(dir=PROCESSED_DATA).read(location=location).value
    return split["train_x"], split["train_y"], split["test_x"], split["test_y"]


@task
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


@task
def predict(weights: np.ndarray, test_x: pd.DataFrame) -> np.ndarray:
    """Return the number of the most probable class for each flower."""
    classes: np.ndarray = np.argmax(with_bias(test_x) @ weights, axis=1)
    return classes


@task(log_stdout=True)
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


with Flow("data-science") as flow:
    test_data_ratio = Parameter("test_data_ratio", default=0.2)
    n_steps = Parameter("n_steps", default=1000)
    learning_rate = Parameter("learning_rate", default=0.1)

    train_x, train_y, test_x, test_y = load_split(test_data_ratio)
    weights = train_model(train_x, train_y, n_steps, learning_rate)
    predictions = predict(weights, test_x)
    accuracy = report_accuracy(predictions, test_y)


if __name__ == "__main__":
    state = flow.run()
    raise SystemExit(0 if state.is_successful() else 1)
