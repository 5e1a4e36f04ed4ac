"""One look at a running command as a person reads it; pure, but for rich's layout.

Everything that came from outside is a ``Text`` without markup, and escaped once more:
no file name can forge a line, a colour or a terminal command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dcmirror.commands.status_tables import DIM, tables
from dcmirror.core.amounts import (
    bytes_text,
    count_text,
    plural,
    span_text,
    speed_text,
)
from dcmirror.core.escapes import shown
from dcmirror.core.judgement import Judgement
from dcmirror.core.sight import Life, Sight
from dcmirror.core.verdict import StatusVerdict, total_lag

STYLES = {
    StatusVerdict.WELL: "bold green",
    StatusVerdict.WARNING: "bold yellow",
    StatusVerdict.TROUBLE: "bold red",
    StatusVerdict.NOT_RUNNING: "bold red",
}
#: A change of the lag that is worth a word (records).
_LEAST_TREND = 100


@dataclass(frozen=True, slots=True)
class Picture:
    """What one look gave: the command, what to think of it, and who ships."""

    sight: Sight
    judgement: Judgement
    shipping: dict[str, Any] | None = None


def screen(
    main: Picture, others: Iterable[Picture] = (), *, verbosity: int = 0
) -> RenderableType:
    """The whole text: verdict and reasons first, then the details."""
    parts: list[RenderableType] = [headline(main), *_reasons(main.judgement)]
    if verbosity >= 0:
        parts += _details(main, verbosity)
    for other in others:
        parts += [Text(), headline(other), *_reasons(other.judgement)]
        if verbosity >= 0:
            parts += _details(other, verbosity)
    return Group(*parts)


def headline(picture: Picture) -> Text:
    """``WARNING  dcmirror watch (atlas on dtn03), pid 4211, up 3 d 4 h``."""
    sight, judgement = picture.sight, picture.judgement
    status = sight.status
    text = Text(no_wrap=False)
    text.append(judgement.word.upper(), STYLES[judgement.verdict])
    text.append(f"  dcmirror {sight.command}")
    if status:
        where = f"{status.get('instance', '')} on {status.get('host', '')}"
        text.append(f" ({shown(where)})")
    if judgement.life in (Life.STOPPED, Life.UNKNOWN):
        return text
    if sight.pid is not None:
        text.append(f", pid {sight.pid}")
    if sight.is_of_this_run and "started" in status:
        text.append(f", up {span_text(status['at'] - status['started'])}")
        text.append(f", version {shown(str(status['version']))}", DIM)
        if status.get("stopping"):
            text.append(", stopping", "bold")
    return text


def _reasons(judgement: Judgement) -> Iterator[Table]:
    """One point for each, indented where it takes several lines."""
    for reason in judgement.reasons:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        point = Text("  •", STYLES[reason.verdict])
        grid.add_row(point, Text(shown(reason.text)))
        yield grid


def _details(picture: Picture, verbosity: int) -> list[RenderableType]:
    sight, judgement = picture.sight, picture.judgement
    status = sight.status
    if not status:
        return []
    parts: list[RenderableType] = []
    if judgement.life is not Life.RUNNING:
        ago = span_text(max(sight.at - status["at"], 0.0))
        parts += [Text(), Text(f"What it said last, {ago} ago:", "bold")]
    parts += [Text(), _facts(picture, verbosity)]
    for table in tables(status, verbosity):
        parts += [Text(), table]
    return parts


# -- facts ----------------------------------------------------------------------------


def _facts(picture: Picture, verbosity: int) -> Table:
    status = picture.sight.status
    at = status["at"]
    facts = {
        "Work": _work(status),
        "Rows": _rows(status),
        "Last": _last(status, at),
        "Given up": _named(status, "failures"),
        "Skipped": _named(status, "skipped") if verbosity > 0 else "",
        "Covered": _covered(status) if verbosity > 0 else "",
        "Kafka": _kafka(status),
        "Source": status.get("source", ""),
        "Mirror": _mirror(status),
        "Proxy": _credential(status),
        "Journal": _journal(status),
        "Shipping": _shipping(picture.shipping, picture.sight.at),
        "Log": _log(status),
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=DIM, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact:
            grid.add_row(Text(name), Text(shown(fact)))
    return grid


def _work(status: dict[str, Any]) -> str:
    jobs, workers = status.get("jobs", {}), status.get("workers", [])
    streams = sum(worker.get("streams", 0) for worker in workers)
    busy = sum(worker.get("busy", 0) for worker in workers)
    speed = sum(each.get("bytes_per_second", 0) for each in status.get("transfers", ()))
    text = f"{busy} of {plural(streams, 'stream')} busy"
    if speed:
        text += f" at {speed_text(speed)}"
    text += f"; {count_text(jobs.get('ready', 0))} ready"
    if status.get("queue_age") is not None:
        text += f" (the next one for {span_text(status['queue_age'])})"
    text += f", {count_text(jobs.get('waiting', 0))} to be tried again"
    for state, words in (
        ("held", "held for a pool"),
        ("provisional", "failed, but the source is under suspicion"),
    ):
        if jobs.get(state):
            text += f", {count_text(jobs[state])} {words}"
    if status.get("net"):
        text += f", {plural(status['net'], 'door record')} in the net"
    return text


def _rows(status: dict[str, Any]) -> str:
    rows = status.get("rows")
    if not rows:
        return _found(status.get("work"))
    return (
        f"{count_text(rows['done'])} of {count_text(rows['total'])} done, "
        f"{count_text(rows['failed_again'])} failed again"
    )


def _found(work: dict[str, Any] | None) -> str:
    """Jobs that a command found itself."""
    if not work:
        return ""
    text = (
        f"{count_text(work['ended'])} of {count_text(work['offered'])} done, "
        f"{count_text(work['failed'])} failed"
    )
    return f"{text}; gives way to watch" if work.get("yielding") else text


def _last(status: dict[str, Any], at: float) -> str:
    words = (("mirrored_at", "mirrored"), ("failed_at", "gave up"))
    told = [
        f"{word} a file {span_text(at - status[key])} ago"
        for key, word in words
        if status.get(key) is not None
    ]
    return ", ".join(told)


def _named(status: dict[str, Any], key: str) -> str:
    """``2 forbidden, 1 gone``: counts since the start, the largest first."""
    counts = status.get(key) or {}
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count_text(number)} {name}" for name, number in ordered)


def _covered(status: dict[str, Any]) -> str:
    """Records that are no skips, since nobody would ask what became of them."""
    named = _named(status, "covered")
    return f"{named}: records that need no outcome of their own" if named else ""


def _kafka(status: dict[str, Any]) -> str:
    if "kafka" not in status:
        return ""
    text = f"topic {status.get('topic')}, group {status.get('group')}: "
    if not status.get("partitions_total"):
        return f"{text}no partition is ours"
    text += plural(status["partitions_total"], "partition")
    lag = total_lag(status)
    if lag is not None:
        text += f", lag {plural(lag, 'record')}"
        is_away = status["kafka"].get("trouble")
        text += " when last heard of" if is_away else _lag_trend(status, lag)
    if status["kafka"].get("paused"):
        text += ", intake paused"
    return text


def _lag_trend(status: dict[str, Any], lag: int) -> str:
    """Where the lag goes, from the last five minutes."""
    rates = status.get("rates", {}).get("300", {})
    change, seconds = rates.get("lag", 0), rates.get("seconds", 0.0)
    if abs(change) < _LEAST_TREND or seconds < 10:
        return ""
    text = f" ({change:+,} in {span_text(seconds)}"
    if change < 0 and lag:
        text += f"; caught up in about {span_text(lag * seconds / -change)}"
    return f"{text})"


def _mirror(status: dict[str, Any]) -> str:
    text = str(status.get("destination", ""))
    if status.get("free_bytes") is None:
        return text
    text += f": {bytes_text(status['free_bytes'])} free"
    if status.get("reserved_bytes"):
        text += f", {bytes_text(status['reserved_bytes'])} of it reserved"
    if status.get("min_free"):
        text += f", {bytes_text(status['min_free'])} are kept free"
    return text


def _credential(status: dict[str, Any]) -> str:
    left, found = status.get("credential_seconds_left"), status.get("credential") or {}
    path = found.get("path", "")
    if left is None:
        return str(found.get("trouble") or path)
    if left <= 0:
        return f"{path}: expired {span_text(-left)} ago"
    return f"{path}: {span_text(left)} left"


def _journal(status: dict[str, Any]) -> str:
    journal = status.get("journal")
    if journal is None:
        return ""
    text = bytes_text(journal.get("bytes", 0))
    dropped = journal.get("dropped", 0)
    text += f", {plural(dropped, 'event')} dropped" if dropped else ", nothing dropped"
    kinds = journal.get("dropped_by_kind") or {}
    if kinds:
        named = ", ".join(f"{count_text(n)} {kind}" for kind, n in kinds.items() if n)
        text += f" ({named})"
    return text


def _log(status: dict[str, Any]) -> str:
    """Only what an operator would look for there in vain."""
    lost = status.get("log_lost")
    return f"{plural(lost, 'line')} could not be written" if lost else ""


def _shipping(report: dict[str, Any] | None, at: float) -> str:
    if not report:
        return ""
    if report["sink"] == "none":
        return "off: the journal stays on this disk"
    text = f"to {report['sink']}: {report['state']}"
    if report.get("per_second"):
        text += f" at {report['per_second']:,.0f} events/s"
    text += f", {count_text(report.get('shipped', 0))} shipped"
    if report.get("behind_bytes"):
        text += f", {bytes_text(report['behind_bytes'])} behind"
        if report.get("oldest_age_s"):
            text += f" (the oldest of {span_text(report['oldest_age_s'])} ago)"
    for key in ("dead_letters", "dead_letters_lost", "spoiled", "missed"):
        if report.get(key):
            text += f", {count_text(report[key])} {key.replace('_', ' ')}"
    return text
