"""How long the intake waits for what; tests are less patient."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Every waiting time of the intake, in seconds, and its limits."""

    poll: float = 0.2
    hand_over: float = 0.05  # for room in the queue, before polling on
    held_poll: float = 0.02  # with a batch in hand
    commit: float = 1.0  # between commits that were asked for
    unasked_commit: float = 5.0  # of what moved, asked for or not
    keepalive: float = 30.0  # a fenced member notices only at a commit
    call: float = 5.0
    retry: float = 0.5
    reconnect_first: float = 1.0
    reconnect_most: float = 30.0
    end: float = 10.0
    trouble: float = 60.0  # before a trouble is told again
    silence: float = 12.0  # without a heartbeat or an assignment
    watch: float = 2.0
    stuck: float = 60.0  # without a heartbeat, though a broker answers
    collect: float = 60.0  # garbage, while the broker is away
    constructions: int = 20  # that failed: what restarts us may know better
    settled: float = 600.0  # a consumer that worked so long was no failure
