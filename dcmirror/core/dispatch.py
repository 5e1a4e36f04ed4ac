"""Which job runs next, and in which worker: the engine's one queue.

A job is always in exactly one state.  Jobs for one destination form a lane and run one
after another in order of event time; only a lane's head may be handed out.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterable

from dcmirror.core.entries import Entry, Seat, State
from dcmirror.core.holds import HoldKey
from dcmirror.core.jobs import Job


class Dispatcher:
    """Every job that is not settled yet.

    It is told the time and decides; it never waits, sends or writes.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._seats: dict[int, Seat] = {}
        self._lanes: dict[str, list[Entry]] = {}
        self._ready: OrderedDict[str, Entry] = OrderedDict()
        self._suspects: OrderedDict[str, Entry] = OrderedDict()
        self._waiting: list[tuple[float, int, str]] = []
        self._order = 0
        self.short_of = 0.0
        self.short_for: str | None = None
        self._counts = dict.fromkeys(State, 0)

    def __repr__(self) -> str:
        counts = " ".join(f"{s.value}={n}" for s, n in self._counts.items())
        return f"<Dispatcher {counts} workers={len(self._seats)}>"

    # -- what there is ------------------------------------------------------------

    def count(self, state: State) -> int:
        """How many jobs are in ``state``."""
        return self._counts[state]

    @property
    def load(self) -> int:
        """Jobs that count against the bound of G4: ready, held or handed out."""
        return (
            self._counts[State.READY]
            + self._counts[State.HELD]
            + self._counts[State.OUT]
            + self._counts[State.PROVISIONAL]
        )

    def out(self) -> list[Entry]:
        """The jobs that workers have."""
        return [e for seat in self._seats.values() for e in seat.tasks.values()]

    @property
    def needs(self) -> int:
        """Bytes of the job that found no room, as long as it is still there."""
        entry = self.entries.get(self.short_for or "")
        return entry.needs if entry else 0

    def next_due(self) -> float | None:
        """When the next waiting job is due."""
        while self._waiting:
            due, _, task = self._waiting[0]
            entry = self.entries.get(task)
            if entry and entry.state is State.WAITING and entry.due == due:
                return due
            heapq.heappop(self._waiting)
        return None

    def next_waiting(self, most: int) -> list[Entry]:
        """The waiting jobs that are due first, at most so many; cheap with 100,000."""
        found: list[Entry] = []
        heap = self._waiting
        # A child in a heap is never due before its parent: the next one is always
        # among the children of those already looked at.
        front = [(heap[0], 0)] if heap else []
        looks = 4 * most  # what is no longer waiting stands in the heap as well
        while front and len(found) < most and looks:
            (due, _, task), at = heapq.heappop(front)
            looks -= 1
            entry = self.entries.get(task)
            if entry and entry.state is State.WAITING and entry.due == due:
                found.append(entry)
            for child in range(2 * at + 1, min(2 * at + 3, len(heap))):
                heapq.heappush(front, (heap[child], child))
        return found

    def next_ready(self) -> Entry | None:
        """The job that is handed out next."""
        queue = self._suspects or self._ready
        return next(iter(queue.values()), None)

    # -- jobs come and go ---------------------------------------------------------

    def add(self, job: Job) -> Entry:
        """Take a new job in; a task that is known already is returned as it is."""
        known = self.entries.get(job.task)
        if known is not None:
            return known
        self._order += 1
        entry = Entry(job, self._order)
        self.entries[job.task] = entry
        self._counts[State.READY] += 1
        lane = self._lanes.setdefault(job.relative, [])
        lane.append(entry)
        if len(lane) > 1:
            self._sort_lane(lane)
        self._queue_head(job.relative)
        return entry

    def remove(self, task: str) -> Entry | None:
        """Let a job go: it is settled, or no longer ours."""
        entry = self.entries.pop(task, None)
        if entry is None:
            return None
        self._leave_seat(entry)
        self._counts[entry.state] -= 1
        self._ready.pop(task, None)
        self._suspects.pop(task, None)
        lane = self._lanes[entry.job.relative]
        lane.remove(entry)
        if lane:
            self._queue_head(entry.job.relative)
        else:
            del self._lanes[entry.job.relative]
        return entry

    def waiting_for(self, relative: str) -> list[Entry]:
        """The jobs of one destination, the next one first."""
        return list(self._lanes.get(relative, ()))

    def _sort_lane(self, lane: list[Entry]) -> None:
        """Order by event time, but never move what a worker has from the front."""
        busy = [e for e in lane if e.state is State.OUT]
        rest = [e for e in lane if e.state is not State.OUT]
        rest.sort(key=_lane_order)
        for entry in rest:
            self._ready.pop(entry.job.task, None)
        lane[:] = busy + rest

    def _head(self, relative: str) -> Entry | None:
        """Who is next for a destination; a provisional failure holds up nobody."""
        lane = self._lanes[relative]
        return next((e for e in lane if e.state is not State.PROVISIONAL), None)

    def _queue_head(self, relative: str) -> None:
        head = self._head(relative)
        if head is None or head.state is not State.READY:
            return
        queue = self._suspects if head.is_suspect else self._ready
        queue.setdefault(head.job.task, head)

    def _move(self, entry: Entry, state: State) -> None:
        self._leave_seat(entry)
        self._ready.pop(entry.job.task, None)
        self._counts[entry.state] -= 1
        self._counts[state] += 1
        entry.state, entry.held_by = state, None

    def _leave_seat(self, entry: Entry) -> None:
        if entry.worker is None:
            return
        seat = self._seats.get(entry.worker)
        entry.worker = None
        if seat is not None:
            seat.drop(entry)

    # -- what becomes of an attempt -----------------------------------------------

    def ready_again(
        self, entry: Entry, *, first: bool = False, since: float | None = None
    ) -> None:
        """Back to the queue; ``first`` puts it before everything else.

        Until ``since`` it could not have run; who gives none waits on for its turn, as
        if it had never been handed out.
        """
        self._move(entry, State.READY)
        if since is not None:
            entry.ready_since = since
        self._queue_head(entry.job.relative)
        if first and entry.job.task in self._ready:
            self._ready.move_to_end(entry.job.task, last=False)

    def next_when_it_fits(self, entry: Entry) -> None:
        """Before everything else, once the destination has room for it."""
        self.ready_again(entry, first=True)
        self.short_for = entry.job.task

    def wait_until(self, entry: Entry, due: float, now: float) -> None:
        """Not before ``due``."""
        self._move(entry, State.WAITING)
        entry.due, entry.waiting_since = due, now
        heapq.heappush(self._waiting, (due, entry.order, entry.job.task))

    def hold(self, entry: Entry, key: HoldKey) -> None:
        """Not before the hold ``key`` ends (a pool's; the others stop everybody)."""
        self._move(entry, State.HELD)
        entry.held_by = key

    def suspend(self, entry: Entry) -> None:
        """Failed, but perhaps because the source is ill: not settled yet."""
        self._move(entry, State.PROVISIONAL)
        self._queue_head(entry.job.relative)

    def due(self, now: float) -> list[Entry]:
        """Make the jobs ready whose time has come."""
        woken = []
        while (due := self.next_due()) is not None and due <= now:
            entry = self.entries[heapq.heappop(self._waiting)[2]]
            self.ready_again(entry, since=due)
            woken.append(entry)
        return woken

    def release(self, key: HoldKey, now: float) -> list[Entry]:
        """The hold ended: what waited for it is ready, before younger jobs."""
        held = [e for e in self.entries.values() if e.held_by == key]
        for entry in reversed(held):
            self.ready_again(entry, first=True, since=now)
        return held

    def longest_waiting(self, beyond: int) -> list[Entry]:
        """The waiting jobs above the bound, those that wait longest."""
        excess = self._counts[State.WAITING] - beyond
        if excess <= 0:
            return []
        waiting = (e for e in self.entries.values() if e.state is State.WAITING)
        return heapq.nsmallest(excess, waiting, key=lambda e: e.waiting_since)

    # -- workers ------------------------------------------------------------------

    def seat(self, number: int, streams: int) -> None:
        """A worker incarnation is ready."""
        self._seats[number] = Seat(number, streams, {})

    def close(self, number: int) -> None:
        """A worker incarnation takes nothing more; what it has it still finishes."""
        if number in self._seats:
            self._seats[number].is_leaving = True

    def unseat(self, number: int, now: float) -> list[Entry]:
        """A worker incarnation is gone: the jobs it had, ready again as suspects.

        Who was alone in a dying worker has one death more on its account.
        """
        seat = self._seats.pop(number, None)
        if seat is None:
            return []
        accused = list(seat.tasks.values())
        for entry in accused:
            entry.deaths_alone += len(accused) == 1 and entry.is_suspect
            entry.worker = None
            entry.is_suspect = True
            self.ready_again(entry, since=now)
        return accused

    def hand_out(self, now: float, space: float = math.inf) -> list[tuple[Entry, int]]:
        """Jobs for each worker that has room, with the worker's number.

        ``space`` is how many bytes the destination can still take; at the first job
        that is larger, handing out ends: it is ``short_for`` that task, which ``needs``
        so much, and ``short_of`` the rest.
        """
        chosen: list[tuple[Entry, int]] = []
        self.short_of, self.short_for = 0.0, None
        while (pair := self._next_pair()) is not None:
            entry, seat = pair
            size = entry.needs
            if size > space:
                self.short_of, self.short_for = size - space, entry.job.task
                break
            space -= size
            self._give(entry, seat, now)
            chosen.append((entry, seat.number))
        return chosen

    def hand_out_one(self, task: str, now: float) -> int | None:
        """Hand out one particular job, to probe a hold; the worker, or None."""
        entry = self.entries.get(task)
        seat = self._roomiest(self._seats.values())
        if (
            entry is None
            or seat is None
            or entry.state not in (State.READY, State.HELD)
        ):
            return None
        if self._head(entry.job.relative) is not entry:
            return None
        self._give(entry, seat, now)
        return seat.number

    def probe_candidates(self) -> Iterable[Entry]:
        """Jobs that could be handed out now, the longest queued first."""
        return iter([*self._ready.values(), *self._suspects.values()])

    def _next_pair(self) -> tuple[Entry, Seat] | None:
        if self._suspects:
            idle = next((s for s in self._open_seats() if not s.tasks), None)
            if idle is not None:
                return next(iter(self._suspects.values())), idle
        seat = self._roomiest(self._seats_for_all())
        if seat is None or not self._ready:
            return None
        entry = next(iter(self._ready.values()))
        if len(seat.tasks) >= seat.streams and not entry.is_small:
            return None
        return entry, seat

    def _seats_for_all(self) -> list[Seat]:
        """While suspects wait, one worker is left to run dry for them."""
        seats = self._open_seats()
        if self._suspects and not any(s.is_alone for s in seats) and len(seats) > 1:
            driest = min(seats, key=lambda s: len(s.tasks))
            seats.remove(driest)
        elif self._suspects and len(seats) == 1:
            return []
        return seats

    def _open_seats(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if not seat.is_leaving]

    @staticmethod
    def _roomiest(seats: Iterable[Seat]) -> Seat | None:
        open_seats = [s for s in seats if s.room() > 0]
        return min(open_seats, key=lambda s: len(s.tasks) - s.streams, default=None)

    def _give(self, entry: Entry, seat: Seat, now: float) -> None:
        self._suspects.pop(entry.job.task, None)
        self._move(entry, State.OUT)
        entry.worker, entry.handed_out_at = seat.number, now
        seat.take(entry)


def _lane_order(entry: Entry) -> tuple[float, int]:
    stamped = entry.job.event_time
    return (entry.job.accepted_at if stamped is None else stamped, entry.order)
