"""Branches, merges and filters."""

# Eagerly: `case` is both a module and the class in it, and the class is what the package offers.
from tenuto.tasks.control_flow.case import case
from tenuto.tasks.control_flow.conditional import ifelse, merge, switch
from tenuto.tasks.control_flow.filter import FilterTask

__all__ = ["FilterTask", "case", "ifelse", "merge", "switch"]
