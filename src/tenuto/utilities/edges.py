"""Annotations for the arguments of tasks."""

from tenuto.core.annotations import EdgeAnnotation, flatten, mapped, unmapped

__all__ = ["EdgeAnnotation", "flatten", "mapped", "unmapped"]
