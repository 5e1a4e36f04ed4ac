"""The tables of ``dcmirror status``, each from one part of status.json.

Everything that came from outside is a ``Text`` without markup, and escaped once more:
no file name can forge a line, a colour or a terminal command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from dcmirror.core.amounts import (
    bytes_text,
    count_text,
    plural,
    share_text,
    short_span,
    span_text,
    speed_text,
)
from dcmirror.core.escapes import shown

DIM = "bright_black"
#: Rows of each table, unless everything is asked for.
_FEW = {"transfers": 40, "partitions": 8, "retries": 5}


def tables(status: dict[str, Any], verbosity: int) -> Iterator[RenderableType]:
    """Those that have something to show, in order of interest."""
    for maker in (_transfers, _rates, _holds, _retries, _partitions, _workers, _hosts):
        table = maker(status, verbosity)
        if table is not None and table.rows:
            # Rich would break a table's own title where the table is narrow.
            title, table.title = table.title, None
            yield Group(Text(str(title), "bold"), table)


def _table(title: str, *columns: str, left: tuple[str, ...] = ()) -> Table:
    """A table without lines; numbers to the right, words (in ``left``) to the left."""
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title=title,
        header_style=DIM,
    )
    for column in columns:
        # Where it is narrow, the name alone gives way.
        table.add_column(
            Text(column),
            justify="left" if column in left else "right",
            no_wrap=column != "file",
        )
    return table


def _transfers(status: dict[str, Any], verbosity: int) -> Table | None:
    every = status.get("transfers", [])
    running = [each for each in every if each["phase"] != "queued"]
    queued = status.get("transfers_total", len(every)) - len(running)
    if not running and not queued:
        return None
    few = running if verbosity > 0 else running[: _FEW["transfers"]]
    title = plural(len(running), "transfer")
    if queued:
        title += f", {count_text(queued)} more in the workers' hands"
    if len(few) < len(running):
        title += f"; the first {len(few)}"
    columns = ("age", "phase", "for", "bytes", "done", "speed", "try", "file")
    table = _table(title, *columns, left=("phase", "file"))
    for each in sorted(few, key=lambda one: -one["for"]):
        table.add_row(*_transfer(each))
    return table


def _transfer(each: dict[str, Any]) -> list[RenderableType]:
    done, size = each.get("bytes", 0), each.get("size")
    speed = each.get("bytes_per_second")
    return [
        Text(short_span(each["for"])),
        Text(shown(each["phase"]).replace("_", " ")),
        Text(short_span(each.get("phase_for"))),
        Text(bytes_text(done) if done else ""),
        Text(share_text(done, size) if size and done else ""),
        Text(speed_text(speed) if speed else ""),
        Text(str(each["attempt"]) if each.get("attempt", 1) > 1 else ""),
        Name(each["path"]),
    ]


def _rates(status: dict[str, Any], verbosity: int) -> Table | None:
    rates = status.get("rates")
    if not rates:
        return None
    total = {
        "files": status.get("mirrored", 0),
        "bytes": status.get("bytes_mirrored", 0),
        "failed": status.get("failed", 0),
        "retries": status.get("retries", 0),
        "skipped": sum(status.get("skipped", {}).values()),
        "seconds": status["at"] - status.get("started", status["at"]),
    }
    # A window that the run does not fill says no more than "since start".
    windows = [(0.0, "60"), (60.0, "300"), (300.0, "900")]
    columns = [
        each if (each := rates.get(name, {})).get("seconds", 0) > least else None
        for least, name in windows
    ]
    columns_of_time = ("1 min", "5 min", "15 min", "since start")
    table = _table("Rates", "", *columns_of_time, left=("",))
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "mirrored": lambda c: count_text(c.get("files", 0)),
        "bytes": lambda c: bytes_text(c.get("bytes", 0)),
        "mean speed": lambda c: speed_text(c.get("bytes", 0) / (c.get("seconds") or 1)),
        "failed": lambda c: count_text(c.get("failed", 0)),
        "retries": lambda c: count_text(c.get("retries", 0)),
        "skipped": lambda c: count_text(c.get("skipped", 0)),
    }
    for name, cell in rows.items():
        cells = (Text("" if column is None else cell(column)) for column in columns)
        table.add_row(Text(name), *cells, Text(cell(total)))
    return table


def _holds(status: dict[str, Any], verbosity: int) -> Table | None:
    holds = status.get("holds", ())
    if not holds:
        return None
    title = plural(len(holds), "hold")
    table = _table(title, "since", "for", "next probe", "what", left=("what",))
    for hold in holds:
        probe = hold.get("probe_in")
        when = "now" if hold.get("probing") else "by itself"
        if probe is not None and not hold.get("probing"):
            when = f"in {span_text(probe)}"
        table.add_row(
            Text(_clock(hold["since"]) if "since" in hold else ""),
            Text(short_span(hold["for"])),
            Text(when),
            Text(shown(hold["kind"])),
        )
    return table


def _clock(moment: float) -> str:
    """Local time; with the date where it is not of the last day."""
    shape = "%H:%M:%S" if time.time() - moment < 86400 else "%Y-%m-%d %H:%M"
    return time.strftime(shape, time.localtime(moment))


def _retries(status: dict[str, Any], verbosity: int) -> Table | None:
    due = status.get("retries_due", [])
    if not due:
        return None
    waiting = status.get("jobs", {}).get("waiting", len(due))
    few = due if verbosity > 0 else due[: _FEW["retries"]]
    title = f"{count_text(waiting)} to be tried again"
    if len(few) < waiting:
        title += f"; the next {len(few)}"
    table = _table(title, "in", "try", "because", "file", left=("because", "file"))
    for each in few:
        table.add_row(
            Text(short_span(each["in"])),
            Text(str(each["attempt"])),
            Text(shown(each["class"])),
            Name(each["path"]),
        )
    return table


def _partitions(status: dict[str, Any], verbosity: int) -> Table | None:
    every = status.get("partitions", [])
    if not every:
        return None
    few = every if verbosity > 0 else every[: _FEW["partitions"]]
    total = status.get("partitions_total", len(every))
    title = plural(total, "partition")
    if len(few) < total:
        title += f"; the {len(few)} furthest behind"
    columns = ("partition", "lag", "committed", "in work", "done above a gap")
    table = _table(title, *columns)
    for each in sorted(few, key=lambda one: -(one.get("lag") or 0)):
        numbers = (each.get(k) for k in ("lag", "committed", "pending", "above_gap"))
        table.add_row(
            Text(str(each["partition"])),
            *(Text("" if n is None else count_text(n)) for n in numbers),
        )
    return table


def _workers(status: dict[str, Any], verbosity: int) -> Table | None:
    workers = status.get("workers", [])
    restarts = status.get("worker_restarts", 0)
    title = f"Processes, {plural(restarts, 'restart')}" if restarts else "Processes"
    columns = ("process", "pid", "up", "busy", "in hand", "last beat", "")
    table = _table(title, *columns, left=("process", ""))
    for each in workers:
        streams, is_ready = each.get("streams", 0), each.get("ready", True)
        is_worker = bool(streams)
        note = "" if is_ready or not is_worker else "starting"
        table.add_row(
            Text(shown(each["name"])),
            Text(str(each["pid"])),
            Text(short_span(each.get("for"))),
            Text(f"{each.get('busy', 0)} of {streams}" if is_worker else ""),
            Text(str(each.get("jobs", 0)) if is_worker else ""),
            Text(short_span(each.get("beat_age")) if is_worker else ""),
            Text("syncing" if each.get("publishing") else note),
        )
    for post in status.get("missing", ()):
        again = f"died; again in {span_text(post['in'] or 0.0)}"
        table.add_row(
            Text(shown(post["name"])), *(Text() for _ in range(5)), Text(again)
        )
    return table


def _hosts(status: dict[str, Any], verbosity: int) -> Table | None:
    """What the site feels of us."""
    every = status.get("hosts") or []
    if not every or verbosity < 1:
        return None
    columns = ("host", "role", "requests", "connections", "bytes")
    table = _table("Asked since the start", *columns, left=("host", "role"))
    for each in sorted(every, key=lambda one: -one["requests"]):
        table.add_row(
            Text(shown(each["host"])),
            Text(shown(each["role"])),
            Text(count_text(each["requests"])),
            Text(count_text(each["connections"])),
            Text(bytes_text(each["bytes"])),
        )
    return table


class Name:
    """A path on one line: what does not fit is left out at its beginning."""

    def __init__(self, path: str) -> None:
        self._path = shown(path)

    def __rich_measure__(
        self, console: Console, options: ConsoleOptions
    ) -> Measurement:
        return Measurement(min(12, cell_len(self._path)), cell_len(self._path))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Segment]:
        yield Segment(shortened(self._path, options.max_width))


def shortened(path: str, width: int) -> str:
    """The end of a path, of at most ``width`` cells."""
    if cell_len(path) <= width:
        return path
    first, cells = len(path), 1
    while first and cells + cell_len(path[first - 1]) <= width:
        first -= 1
        cells += cell_len(path[first])
    return f"…{path[first:]}"
