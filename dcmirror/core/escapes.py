"""Making foreign text safe to show: one line, no terminal commands, no disguises."""

from __future__ import annotations

import re

# Unicode's control and format characters, line and paragraph separators and lone
# surrogates: they command a terminal, break a line, turn the direction of text, or are
# seen by nobody.  Not its other spaces (U+00A0, U+3000): they look like what they are,
# and people name files with them.
_UNSAFE = (
    "\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_SHOWN = re.compile(f"[{_UNSAFE}]")
_KEPT = re.compile(f"[{_UNSAFE}\\\\]")
# Eight digits only as ``_escape`` writes them: others are no character, or have four.
_ESCAPE = re.compile(
    r"\\(?:([\\nrt])|x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[1-9a-f]|10)[0-9a-f]{4}))"
)

# One-time ids, macaroons and passwords stand in the query or before the host.
# A password may have an @ of its own: the last one before the path ends it.
_USER = re.compile(r"(\w://)[^\s/?#]+@")
_QUERY = re.compile(r"""(\w://[^\s?"'<>]*)\?[^\s"'<>)\]]+""")

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_LONG = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def shown(text: str) -> str:
    """For eyes: what could break a line or command a terminal becomes an escape."""
    return text if text.isprintable() else _SHOWN.sub(_escape, text)


def shown_lines(text: str) -> str:
    """The same for a text of several lines, as a traceback is.

    Those below the first are set in, so that none of them passes for another's.
    """
    return "\n  ".join(shown(line) for line in text.rstrip("\n").split("\n"))


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
    if short := _SHORT.get(character):
        return short
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescape(match: re.Match[str]) -> str:
    letter, byte, unit, point = match.groups()
    return _LONG[letter] if letter else chr(int(byte or unit or point, 16))
