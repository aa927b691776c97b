"""Digests of values. They live in a lower room, where the output cache needs them too."""

from tenuto._base.digests import BYTES_MAX, PROVENANCE_PREFIX, combine, digest, provenance

__all__ = ["BYTES_MAX", "PROVENANCE_PREFIX", "combine", "digest", "provenance"]
