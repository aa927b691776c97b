"""Tasks that collect the results of others."""

from tenuto.core.nodes import Dict, List, Set, Tuple, VarArgsTask

__all__ = ["Dict", "List", "Set", "Tuple", "VarArgsTask"]
