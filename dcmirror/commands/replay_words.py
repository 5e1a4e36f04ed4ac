"""What a replay says: what it would try, and what became of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

from dcmirror.core.escapes import shown


def say(text: str) -> None:
    """A note for people."""
    print(f"dcmirror: {text}", file=sys.stderr)


def tell_document(document: dict[str, Any]) -> None:
    """One JSON document on standard output; ASCII, so that no name breaks a line."""
    print(json.dumps(document, indent=2))


def tell_lines(lines: Iterable[tuple[str, str, str]]) -> None:
    """Class or kind, path and reason of each file that would be tried."""
    for name, path, why in lines:
        print(f"{name}\t{shown(path)}\t{shown(why)}")


def counted(names: Iterable[str]) -> str:
    """ "3 gone, 1 forbidden"."""
    found = Counter(names).most_common()
    return ", ".join(f"{count} {name}" for name, count in found) or "none"
