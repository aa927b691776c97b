"""Schedules: the times at which runs of a flow start."""

from tenuto.schedules import adjustments, clocks, filters
from tenuto.schedules.schedules import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule

__all__ = [
    "CronSchedule",
    "IntervalSchedule",
    "RRuleSchedule",
    "Schedule",
    "adjustments",
    "clocks",
    "filters",
]
