"""Making and combining tasks; `unmapped` is here because older flows import it from here."""

from tenuto.core.annotations import unmapped
from tenuto.core.authoring import apply_map, as_task, defaults_from_attrs, pause_task, tags, task

__all__ = ["apply_map", "as_task", "defaults_from_attrs", "pause_task", "tags", "task", "unmapped"]
