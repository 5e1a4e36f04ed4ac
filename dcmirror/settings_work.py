"""The tables of the work: the engine, and the commands that run beside it."""

from __future__ import annotations

from dataclasses import dataclass

from dcmirror.settings_field import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The engine."""

    workers: int = setting(
        "Worker processes; 0: as many as cores, at most 4. "
        "As many as maxdownloads makes one process per transfer, "
        "for slow destinations (NFS).",
        0,
        check="process_count",
    )
    drain_seconds: float = setting(
        "How long TERM waits for running transfers.",
        60.0,
        unit="s",
        check="not_negative",
    )
    max_jobs: int = setting(
        "Jobs ready, held or handed out; at this number intake pauses.",
        10000,
        check="up_to_a_million",
    )
    max_waiting: int = setting(
        "Jobs that wait for a due time; "
        "beyond it the longest waiting go to failed.csv.",
        100000,
        check="up_to_a_million",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Limits of `dcmirror replay` and `reconcile`, which run beside `watch`."""

    maxdownloads: int | None = setting(
        "Files copied at the same time. Default: half of [dcache] maxdownloads.",
        None,
        check="up_to_10000",
        sample=5,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """How the source is listed, by `dcmirror reconcile` and for `audit --source`."""

    requests_per_second: float = setting(
        "Most requests to the door. dCache 11.2 and later refuse a client that sends "
        "more than 250.",
        50.0,
        unit="1/s",
        check="positive",
    )
    parallel: int = setting("Directories listed at the same time.", 4, check="up_to_64")
    grace_minutes: float = setting(
        "Files written within so many minutes are left to their events.",
        10.0,
        unit="min",
        check="not_negative",
    )
    every_hours: float | None = setting(
        "`watch` runs a reconcile each so many hours. Default: it never does.",
        None,
        unit="h",
        check="positive",
        sample=168,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """How copies are read again by `dcmirror audit --deep`."""

    bytes_per_second: int | None = setting(
        "Most bytes read of the mirror per second. Default: no limit.",
        None,
        unit="B/s",
        check="at_least_one",
        sample=104857600,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """Which sources `dcmirror cleanup` deletes once their copies are proved."""

    allowed: bool = setting("Delete without a dry run before and without --yes.", False)
    min_age_days: float = setting(
        "A source is kept at least so long after it was copied.",
        7.0,
        unit="d",
        check="not_negative",
    )
    verify: str = setting(
        'How a copy is looked at just before its source is deleted: "stat" (there, '
        'size and time as recorded) or "deep" (read, and its Adler-32 compared).',
        "stat",
        check="stat_deep",
    )
    exclude: tuple[str, ...] = setting(
        "Globs, matched against the path below `folder`, of sources that are kept.",
        (),
        check="exclude_glob",
        sample=("calibration/**", "*.keep"),
    )
    max_files: int = setting(
        "Most sources deleted in a run.", 10000, check="at_least_one"
    )
    max_bytes: int | None = setting(
        "Most bytes deleted in a run. Default: no limit.",
        None,
        unit="B",
        check="at_least_one",
        sample=10995116277760,
    )
    max_fraction: float = setting(
        "The brake: if more than this part of the copies whose sources are still there "
        "would be deleted in a run, nothing is.",
        0.25,
        check="fraction",
    )
    when_free_below: int | None = setting(
        "Delete only while the source has less free space than this, oldest first. "
        "Default: whatever is old enough.",
        None,
        unit="B",
        check="at_least_one",
        sample=5497558138880,
    )
    free_command: tuple[str, ...] = setting(
        "Program that prints the source's free bytes. "
        "Default: the door is asked (quota-available-bytes).",
        (),
        sample=("/usr/local/bin/pool-free", "experiment"),
    )
    isolate: str = setting(
        "A source is renamed before it is deleted, and looked at under the name that "
        "nobody else knows, so that what somebody put in its place meanwhile is never "
        'deleted: "always", "try" (where the door refuses to rename, a source is '
        'looked at and deleted as it is), "never".',
        "always",
        check="always_try_never",
    )
    parallel: int = setting("Sources worked on at a time.", 4, check="up_to_64")
    part_age_hours: float = setting(
        "Left-over parts in the mirror are removed at this age.",
        24.0,
        unit="h",
        check="positive",
    )
    requests_per_second: float = setting(
        "Most requests to the door; a deletion takes five. "
        "dCache 11.2 and later refuse a client that sends more than 250.",
        50.0,
        unit="1/s",
        check="positive",
    )
