"""Canonical JSON of plain values. It lives in a lower room, where others need it too."""

from tenuto._base.plain import DEPTH_MAX, ordered_json, plain_json

__all__ = ["DEPTH_MAX", "ordered_json", "plain_json"]
