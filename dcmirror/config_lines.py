"""Where in a TOML text a table or key stands, for messages that name the line.

``tomllib`` does not tell; but it knows best where a statement ends, so it is asked.
"""

from __future__ import annotations

import tomllib
from typing import Any

_LONGEST_STATEMENT = 500  # lines; asking about each more costs quadratic time

Lines = dict[tuple[str, ...], int]


def line_numbers(text: str) -> Lines:
    """Line of each table header and key of ``text``, which must be valid TOML."""
    found: Lines = {}
    rows = text.replace("\r\n", "\n").split("\n")
    table: tuple[str, ...] = ()
    row = 0
    while row < len(rows):
        statement, length = _statement(rows, row)
        is_header = rows[row].lstrip().startswith("[")
        base = () if is_header else table
        for path in _paths(statement, base):
            found.setdefault(path, row + 1)
            table = path if is_header else table
        row += length
    return found


def _statement(rows: list[str], start: int) -> tuple[dict[str, Any], int]:
    """The statement that begins at ``start``, and how many lines it has."""
    for length in range(1, min(_LONGEST_STATEMENT, len(rows) - start) + 1):
        try:
            return tomllib.loads("\n".join(rows[start : start + length])), length
        except tomllib.TOMLDecodeError:
            continue
    return {}, 1


def _paths(node: Any, base: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Paths of all keys below ``node``, outer ones first."""
    if isinstance(node, list):
        return [path for item in node for path in _paths(item, base)]
    if not isinstance(node, dict):
        return []
    found = []
    for key, value in node.items():
        found.append((*base, key))
        found.extend(_paths(value, (*base, key)))
    return found
