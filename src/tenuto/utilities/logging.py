"""Loggers of the package."""

from tenuto._base.logging import (
    RedirectToLog,
    configure_extra_loggers,
    configure_logging,
    create_diagnostic_logger,
    get_logger,
    temporary_logger_config,
)

__all__ = [
    "RedirectToLog",
    "configure_extra_loggers",
    "configure_logging",
    "create_diagnostic_logger",
    "get_logger",
    "temporary_logger_config",
]
