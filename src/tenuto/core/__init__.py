"""Flows and what they are made of."""

from tenuto.core.edge import Edge
from tenuto.core.flow import Flow
from tenuto.core.parameter import Parameter
from tenuto.core.task import Task

__all__ = ["Edge", "Flow", "Parameter", "Task"]
