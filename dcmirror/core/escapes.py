"""Making foreign text safe to show: one line, no terminal commands, no disguises."""

from __future__ import annotations

import re

# C0, DEL and C1; the line and paragraph separators that some readers break lines at;
# marks that nobody sees or that turn the direction of text; lone surrogates, which no
# file takes.
_UNSAFE = (
    "\x00-\x1f\x7f-\x9f\u2028\u2029"
    "\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
)
_SHOWN = re.compile(f"[{_UNSAFE}]")
_KEPT = re.compile(f"[{_UNSAFE}\\\\]")
_ESCAPE = re.compile(r"\\(?:([\\nrt])|x([0-9a-f]{2})|u([0-9a-f]{4}))")

# One-time ids, macaroons and passwords stand in the query or before the host.
_USER = re.compile(r"(\w://)[^\s/@?#]+@")
_QUERY = re.compile(r"""(\w://[^\s?"'<>]*)\?[^\s"'<>)\]]+""")

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_LONG = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def shown(text: str) -> str:
    """For eyes: what could break a line or command a terminal becomes an escape."""
    return text if text.isprintable() and text.isascii() else _SHOWN.sub(_escape, text)


def kept(text: str) -> str:
    """The same with the backslash escaped too, so that ``restored`` undoes it."""
    return _KEPT.sub(_escape, text)


def restored(text: str) -> str:
    """What ``kept`` was given."""
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def without_secrets(text: str) -> str:
    """The text with user, password and query cut out of every URL in it."""
    if "://" not in text or ("?" not in text and "@" not in text):
        return text
    return _QUERY.sub(r"\1?...", _USER.sub(r"\1", text))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    short = _SHORT.get(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _unescape(match: re.Match[str]) -> str:
    letter, byte, unit = match.groups()
    return _LONG[letter] if letter else chr(int(byte or unit, 16))
