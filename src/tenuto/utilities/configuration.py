"""Settings changed for the time of a block."""

from tenuto._base.temporary_config import set_temporary_config

__all__ = ["set_temporary_config"]
