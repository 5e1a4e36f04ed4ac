"""A field of the settings tables: a value's type, with the prose that documents it."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any


def setting(
    doc: str,
    default: Any = MISSING,
    *,
    unit: str = "",
    check: str = "",
    sample: Any = None,
    reload: bool = False,
) -> Any:
    """A field of the table.

    Args:
        doc: what it does, in a sentence or two.
        default: MISSING makes the key required.
        unit: shown beside the default.
        check: a function of ``config_checks``; its docstring says what it takes.
        sample: the value that the sample file shows, where the default says little.
        reload: whether HUP takes a new value; others need a restart.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "check": check,
        "sample": sample,
        "reload": reload,
    }
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)
