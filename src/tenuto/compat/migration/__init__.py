"""
Files of the Prefect 1 API rewritten for Tenuto.

Texts in, texts and findings out; only `files` reads and writes.
"""

from tenuto.compat.migration.findings import Finding, Migrated
from tenuto.compat.migration.sources import migrate_source

__all__ = ["Finding", "Migrated", "migrate_source"]
