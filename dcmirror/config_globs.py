"""The globs of filter rules, of [cleanup] exclude and of ``--path``.

They are those of gitignore: ``*`` and ``?`` stay within a component, ``**`` crosses
them, ``[a-z]`` and ``[!a-z]`` are classes, a backslash takes the next character
literally.  A pattern without a slash matches the file's name at any depth; one with a
slash matches the path from the folder on; one that ends with a slash matches everything
below a directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def compiled(glob: str) -> re.Pattern[str]:
    """The pattern that a path must match from end to end.

    Raises:
        ValueError: it is not a glob.
    """
    try:
        return re.compile(translate(glob), re.DOTALL)
    except re.error as exc:
        raise ValueError(str(exc)) from exc


def translate(glob: str) -> str:
    """The regular expression of a glob.

    Raises:
        ValueError: it is not a glob.
    """
    body = glob.rstrip("/")
    if "/" not in body:
        prefix = "(?:.*/)?"
    else:
        prefix = ""
        body = body.removeprefix("/")
    suffix = "/.+" if glob.endswith("/") else ""
    if not body:
        raise ValueError("matches nothing")
    return prefix + "".join(_pieces(body)) + suffix


_TOKEN = re.compile(
    r"""(?P<across>(?:(?<=/)|\A)\*\*+/)  # whole components, none too
    | (?P<any>\*\*+) | (?P<star>\*) | (?P<one>\?)
    | \[(?P<class>[!^]?\]?(?:\\.|[^\]\\])*)\]
    | \\(?P<escaped>.) | (?P<bad>[\[\\]) | (?P<literal>.)""",
    re.DOTALL | re.VERBOSE,
)

_FIXED = {"across": "(?:.*/)?", "any": ".*", "star": "[^/]*", "one": "[^/]"}


def _pieces(body: str) -> Iterable[str]:
    for token in _TOKEN.finditer(body):
        kind = token.lastgroup or ""
        if kind in _FIXED:
            yield _FIXED[kind]
        elif kind == "class":
            yield _character_class(token["class"])
        elif kind == "bad":
            what = "[" if token["bad"] == "[" else "backslash"
            raise ValueError(f"unfinished {what} in the glob")
        else:
            yield re.escape(token[kind])


_MEMBER = re.compile(r"(\\.|[^\\])-(\\.|[^\\])|\\(.)|(.)", re.DOTALL)


def _escape_member(member: re.Match[str]) -> str:
    """A range, or one character; the glob's own backslash goes first."""
    first, last, escaped, plain = member.groups()
    if first:
        return f"{re.escape(first[-1])}-{re.escape(last[-1])}"
    return re.escape(escaped or plain)


def _character_class(inside: str) -> str:
    """A class never matches a slash, negated or not."""
    negated = inside[:1] in ("!", "^")
    members = inside[1:] if negated else inside
    if not members:
        raise ValueError("an empty class in the glob")
    safe = _MEMBER.sub(_escape_member, members)
    return f"(?!/)[{'^' if negated else ''}{safe}]"
