"""How a metric is read from status.json and shipper.json; used by ``metric_table``.

The logger process of ``watch`` calls it at each scrape.  What a file does not say gives
no sample, so that a file of another version does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import HoldKind
from dcmirror.core.journal_values import Value as Worth
from dcmirror.core.tally import Cover
from dcmirror.core.verdict import Limits

#: The thresholds of ``dcmirror status``, so that both say the same.
_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Look:
    """Both files as they are at a scrape; times in seconds since the epoch.

    ``status`` and ``shipping`` are empty where there is none.  ``age`` is that of
    status.json.
    """

    status: Mapping[str, Any]
    shipping: Mapping[str, Any]
    now: float
    age: float | None

    @property
    def is_up(self) -> bool:
        """Whether the daemon's loop runs."""
        fresh = self.age is not None and self.age <= _LIMITS.stuck
        return fresh and self.status.get("ended") is None


@dataclass(frozen=True, slots=True)
class Spread:
    """A histogram: values below each bound, above all of them, and their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


Value = float | Spread
Sample = tuple[tuple[str, ...], Value]
Reader = Callable[[Look], Iterable[Sample]]


def status(*keys: str) -> Reader:
    """The number (or truth) at these keys of status.json."""
    return lambda look: _one(_at(look.status, keys))


def shipping(key: str) -> Reader:
    """The number of that key of shipper.json."""
    return lambda look: _one(look.shipping.get(key))


def has_trouble(*keys: str) -> Reader:
    """1 where these keys hold a complaint, 0 where they hold none."""

    def read(look: Look) -> Iterator[Sample]:
        parent = _at(look.status, keys[:-1])
        if isinstance(parent, Mapping) and keys[-1] in parent:
            yield (), float(parent[keys[-1]] is not None)

    return read


def by_key(*keys: str) -> Reader:
    """A mapping of status.json: its keys are the label."""
    return lambda look: _counts(_at(look.status, keys))


def by_class(key: str) -> Reader:
    """Counts by failure class; 0 for those that never came, so that rates begin."""

    def read(look: Look) -> Iterator[Sample]:
        if isinstance(counts := look.status.get(key), Mapping):
            yield from _counts({c.value: 0 for c in FailureClass} | dict(counts))

    return read


def each(key: str, labels: tuple[str, ...], value: str) -> Reader:
    """A list of mappings of status.json."""

    def read(look: Look) -> Iterator[Sample]:
        for item in look.status.get(key) or ():
            for _, number in _one(item.get(value)):
                yield tuple(str(item.get(label, "")) for label in labels), number

    return read


def spread(name: str) -> Reader:
    """A histogram of status.json."""

    def read(look: Look) -> Iterator[Sample]:
        found = _at(look.status, ("histograms", name))
        if found:
            yield (
                (),
                Spread(tuple(found["bounds"]), tuple(found["counts"]), found["sum"]),
            )

    return read


# Those that are like no other


def up(look: Look) -> Iterator[Sample]:
    """1 while the loop runs."""
    yield (), float(look.is_up)


def status_age(look: Look) -> Iterator[Sample]:
    """Seconds since status.json was written."""
    return _one(look.age)


def version(look: Look) -> Iterator[Sample]:
    """A label that says which."""
    if found := look.status.get("version"):
        yield (str(found),), 1.0


def files(look: Look) -> Iterator[Sample]:
    """What became of files: outcome and why."""
    known = look.status
    if "mirrored" not in known:
        return
    adopted = known.get("adopted", 0)
    yield ("mirrored", ""), float(known["mirrored"] - adopted)
    yield ("adopted", ""), float(adopted)
    for (reason,), count in by_class("failures")(look):
        yield ("failed", reason), count
    for (reason,), count in _counts(known.get("skipped")):
        yield ("skipped", reason), count


def covered(look: Look) -> Iterator[Sample]:
    """Records without an outcome by reason; 0 for those that never came."""
    if isinstance(counts := look.status.get("covered"), Mapping):
        yield from _counts({c.value: 0 for c in Cover} | dict(counts))


def requests_per_file(look: Look) -> Iterator[Sample]:
    """Requests since the start by role, over files fetched since the start."""
    known = look.status
    fetched = known.get("mirrored", 0) - known.get("adopted", 0)
    if fetched <= 0:
        return
    sums: dict[str, int] = {}
    for host in known.get("hosts") or ():
        sums[host["role"]] = sums.get(host["role"], 0) + host["requests"]
    for role, requests in sums.items():
        yield (role,), requests / fetched


def holds(look: Look) -> Iterator[Sample]:
    """How many are on, by kind."""
    if "holds" in look.status:
        counts = {kind.value: 0 for kind in HoldKind}
        for hold in look.status["holds"]:
            kind = hold["kind"].partition(" ")[0]
            counts[kind] = counts.get(kind, 0) + 1
        yield from _counts(counts)


def hold_starts(look: Look) -> Iterator[Sample]:
    """Since when each is on, by kind and host."""
    for hold in look.status.get("holds") or ():
        kind, _, host = hold["kind"].partition(" ")
        for _, since in _one(hold.get("since")):
            yield (kind, host), since


def workers(look: Look) -> Iterator[Sample]:
    """How many of them are in which state."""
    if "workers" not in look.status:
        return
    counts = {"ready": 0, "starting": 0, "silent": 0}
    for worker in look.status["workers"]:
        if worker.get("streams", 1):
            counts[_state_of(worker)] += 1
    missing = [m for m in look.status.get("missing", ()) if m["name"] != "logger"]
    yield from _counts(counts | {"missing": len(missing)})


def _state_of(worker: Mapping[str, Any]) -> str:
    if not worker.get("ready"):
        return "starting"
    is_late = worker.get("beat_age", 0.0) > _LIMITS.worker_silence
    return "silent" if is_late and not worker.get("publishing") else "ready"


def total(key: str, member: str) -> Reader:
    """The sum of one member over a list of status.json."""

    def read(look: Look) -> Iterator[Sample]:
        if key in look.status:
            yield (), float(sum(item.get(member) or 0 for item in look.status[key]))

    return read


def credential_left(look: Look) -> Iterator[Sample]:
    """Seconds until it expires, as of the scrape; below 0 when it has expired."""
    for _, not_after in status("credential", "not_after")(look):
        assert not isinstance(not_after, Spread)
        yield (), not_after - look.now


def shipping_states(look: Look) -> Iterator[Sample]:
    """1 for the state it is in, 0 for the others."""
    if state := look.shipping.get("state"):
        states = ("shipping", "idle", "retrying", "paused")
        yield from _counts({one: int(one == state) for one in states})


def shipping_age(look: Look) -> Iterator[Sample]:
    """Seconds since shipper.json was written."""
    for _, at in _one(look.shipping.get("at")):
        yield (), max(look.now - at, 0.0)


def oldest_unshipped(look: Look) -> Iterator[Sample]:
    """Age of the oldest event that is not shipped; 0 where all are."""
    if "oldest_age_s" in look.shipping:
        yield (), float(look.shipping["oldest_age_s"] or 0.0)


def queue_age(look: Look) -> Iterator[Sample]:
    """For how long the next job has been ready; 0 where none is."""
    if "queue_age" in look.status:
        yield (), float(look.status["queue_age"] or 0.0)


def journal_drops(look: Look) -> Iterator[Sample]:
    """Dropped events by kind; 0 for those that never were, so that rates begin."""
    if isinstance(kinds := _at(look.status, ("journal", "dropped_by_kind")), Mapping):
        yield from _counts({worth.kind: 0 for worth in Worth} | dict(kinds))


def _at(tree: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    found: Any = tree
    for key in keys:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _one(value: Any) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, int | float):
        yield (), float(value)


def _counts(counts: Any) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, value in (counts or {}).items():
        yield (str(key),), float(value)
