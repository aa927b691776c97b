"""Delays of retries."""

from tenuto._base.datetimes import retry_delay

__all__ = ["retry_delay"]
