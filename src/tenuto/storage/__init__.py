"""Where the code of flows is kept: one module per kind."""

import warnings

from tenuto._base.importtools import import_object
from tenuto.configuration import config
from tenuto.storage.azure import Azure
from tenuto.storage.base import Storage
from tenuto.storage.bitbucket import Bitbucket
from tenuto.storage.codecommit import CodeCommit
from tenuto.storage.docker import Docker
from tenuto.storage.gcs import GCS
from tenuto.storage.git import Git
from tenuto.storage.github import GitHub
from tenuto.storage.gitlab import GitLab
from tenuto.storage.local import Local
from tenuto.storage.module import Module
from tenuto.storage.s3 import S3
from tenuto.storage.webhook import Webhook

__all__ = [
    "GCS",
    "S3",
    "Azure",
    "Bitbucket",
    "CodeCommit",
    "Docker",
    "Git",
    "GitHub",
    "GitLab",
    "Local",
    "Module",
    "Storage",
    "Webhook",
    "get_default_storage_class",
]


def get_default_storage_class() -> type[Storage]:
    """Return the class that `flows.defaults.storage.default_class` names; Local if it cannot be."""
    path = config.flows.defaults.storage.default_class
    if isinstance(path, type):
        return path
    try:
        found: type[Storage] = import_object(path)
    except (ImportError, AttributeError):
        warnings.warn(
            f"Could not import {path!r}; Local storage is used instead. "
            "It is named by the setting flows.defaults.storage.default_class.",
            stacklevel=2,
        )
        return Local
    return found
