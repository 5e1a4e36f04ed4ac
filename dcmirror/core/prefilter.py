"""A cheap test on a record's bytes, so that most are never parsed.

It is sound: without ``\\u`` escapes a JSON string stands in the record as it is, but
for its slashes, which may be written ``\\/``.  A path below the folder therefore shows
as a quote followed by the folder's components.
"""

from __future__ import annotations

import re

_OPEN, _CLOSE = b"{}"
_SLASH = rb"(?:\\?/)+"
_NOT_PLAIN = re.compile(r'["\\\x00-\x1f\x7f\ud800-\udfff]')


class Prefilter:
    """Whether a record may name a path below one namespace directory."""

    __slots__ = ("_needle", "_search")

    def __init__(self, root: str) -> None:
        names = [name for name in root.split("/") if name]
        plain = [name.encode() for name in names if not _NOT_PLAIN.search(name)]
        self._needle = _rarest(plain)
        self._search = re.compile(_prefix_pattern(names)).search

    def may_match(self, value: bytes) -> bool:
        """False only if the full decision about the record would find nothing of ours.

        The record is not empty.  What does not look like a JSON object passes, so that
        it is told as garbage.
        """
        if self._needle in value and self._search(value):
            return True
        # Most records hold no backslash, and one byte is found much faster than two.
        if b"\\" in value and b"\\u" in value:
            return True
        return value[0] != _OPEN or value[-1] != _CLOSE


def _rarest(names: list[bytes]) -> bytes:
    """The deepest name of some length: upper ones stand in every record of a site."""
    return next((name for name in reversed(names) if len(name) > 3), b"/")


def _prefix_pattern(names: list[str]) -> bytes:
    """The quote, and the components as far as JSON has one spelling for them."""
    pattern = b'"' + _SLASH
    for name in names:
        if _NOT_PLAIN.search(name):
            break
        pattern += re.escape(name.encode()) + _SLASH
    return pattern
