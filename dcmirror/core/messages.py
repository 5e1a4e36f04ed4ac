"""What supervisor and workers say to each other, one pipe each way per incarnation."""

from __future__ import annotations

from dataclasses import dataclass

from dcmirror.core.jobs import AttemptResult, HostUse, Job, Progress, Step


@dataclass(frozen=True, slots=True)
class RunJobs:
    """To a worker: these jobs, in this order.

    ``min_free``: bytes that are to stay free, whatever a body turns out to need.
    """

    jobs: tuple[Job, ...]
    min_free: int = 0


@dataclass(frozen=True, slots=True)
class Drain:
    """To a worker: finish what runs within ``seconds``, park the rest, then exit 0."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CredentialChanged:
    """To a worker: the proxy file is another one; use new connections from now on."""


@dataclass(frozen=True, slots=True)
class ProbeDestination:
    """To a worker: try a small write in the mirror and answer DestinationState."""


@dataclass(frozen=True, slots=True)
class ProbeSource:
    """To a worker: PROPFIND depth 0 of ``folder`` at the door; answer SourceState."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: booted, its selector runs; space as in ``Report``."""

    pid: int
    free_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """From a worker: results, steps and progress since the last report; also the beat.

    Sent at once with results, else once a second.  ``free_bytes`` is what an
    unprivileged user may still write below the mirror, None when unknown.
    ``publishing`` says that the publisher is inside a sync (no stall kill then),
    ``leaving`` that the worker was told to go and takes no more jobs.
    """

    results: tuple[AttemptResult, ...] = ()
    steps: tuple[Step, ...] = ()
    progress: tuple[Progress, ...] = ()
    free_bytes: int | None = None
    total_bytes: int | None = None
    publishing: bool = False
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class DestinationState:
    """From a worker: whether the mirror can be written, and why not."""

    ok: bool
    reason: str
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """From a worker: whether the door shows ``folder``, and what it said."""

    ok: bool
    reason: str
    hosts: tuple[HostUse, ...] = ()


ToWorker = RunJobs | Drain | CredentialChanged | ProbeDestination | ProbeSource
FromWorker = Ready | Report | DestinationState | SourceState
