"""Rows of a report of ``reconcile`` or ``audit``, read back from its CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dcmirror.core.escapes import restored, shown
from dcmirror.core.failed_rows import count_of, split_line
from dcmirror.core.findings import COLUMNS
from dcmirror.errors import ConfigError

_NEEDED = ("kind", "path")
#: The members of a report's document that hold its rows.
_MEMBERS = ("differences", "findings")


class NotAReportError(ConfigError):
    """A file that is no such report; the message names its line."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One finding about a file.

    ``place`` says where it stands, for messages.  ``kind`` is as it was written, and
    may be none that is known; the rest as in ``core.findings.Finding``.
    """

    place: str
    kind: str
    path: str
    size: int | None = None
    pnfsid: str | None = None
    adler32: int | None = None
    detail: str = ""
    outcome: str = ""


def parse_report(text: str, name: str) -> list[ReportRow]:
    """The rows of a report, whichever of its forms it has; an empty one has none.

    Raises:
        NotAReportError: it is none; names ``name`` and the line.
    """
    start = text.removeprefix("\ufeff").lstrip()
    if start[:1] in ("{", "["):
        return list(_from_json(start, name))
    return list(_from_csv(text.removeprefix("\ufeff"), name))


def _from_csv(text: str, name: str) -> Iterator[ReportRow]:
    columns: list[str] | None = None
    # Names are escaped in CSV, so that a row is a line; splitlines() knows more ends.
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{name}:{number}"
        cells = split_line(line.removesuffix("\r"))
        if cells == [] or (cells is not None and not any(cells)):
            continue
        if columns is None:
            columns = _header(cells, place)
            continue
        if cells is None or len(cells) != len(columns):
            raise NotAReportError(f"{place}: not a whole row of the report")
        values = dict(zip(columns, map(restored, cells), strict=True))
        yield _row(values, place)


def _header(cells: list[str] | None, place: str) -> list[str]:
    if cells is None or any(column not in cells for column in _NEEDED):
        first = shown((cells or [""])[0][:40])
        raise NotAReportError(
            f"{place}: not a report: the header begins with {first!r}, "
            f"expected {', '.join(COLUMNS[:3])}, ..."
        )
    return cells


def _from_json(text: str, name: str) -> Iterator[ReportRow]:
    try:
        document = json.loads(text)
    except ValueError as exc:
        line = getattr(exc, "lineno", 1)
        raise NotAReportError(f"{name}:{line}: not JSON: {exc}") from exc
    except RecursionError:
        raise NotAReportError(f"{name}:1: not a report: nested too deep") from None
    for number, values in enumerate(_members(document, name), start=1):
        place = f"{name}: row {number}"
        if not isinstance(values, dict):
            raise NotAReportError(f"{place}: not an object")
        if values.get("path") is not None:  # an audit also finds what is about no file
            yield _row(values, place)


def _members(document: Any, name: str) -> list[Any]:
    if isinstance(document, list):
        return document
    for member in _MEMBERS:
        if isinstance(document.get(member), list):
            return list(document[member])
    raise NotAReportError(
        f"{name}:1: not a report: it has neither {' nor '.join(_MEMBERS)}"
    )


def _row(values: dict[str, Any], place: str) -> ReportRow:
    try:
        row = ReportRow(
            place=place,
            kind=_text(values, "kind"),
            path=_text(values, "path"),
            size=_number(values.get("size"), 10),
            pnfsid=_text(values, "pnfsid") or None,
            adler32=_number(values.get("adler32"), 16),
            detail=_text(values, "detail"),
            outcome=_text(values, "outcome"),
        )
    except (ValueError, TypeError, OverflowError):
        raise NotAReportError(f"{place}: a size or checksum is no number") from None
    if not row.path.startswith("/"):
        raise NotAReportError(f"{place}: {shown(row.path[:80])!r} is no namespace path")
    return row


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _number(value: Any, base: int) -> int | None:
    if value is None or value == "":
        return None
    return count_of(value, base)
