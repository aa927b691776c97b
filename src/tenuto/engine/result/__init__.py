"""Results: what holds a task's value, and knows where it is stored."""

from tenuto.engine.result.base import NoResult, NoResultType, Result, ResultNotImplementedError

__all__ = ["NoResult", "NoResultType", "Result", "ResultNotImplementedError"]
