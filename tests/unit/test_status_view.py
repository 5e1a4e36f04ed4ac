"""What a person reads: everything that matters is there, and nothing can be forged."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest

from dcmirror.commands.status_follow import line
from dcmirror.commands.status_look import (
    Look,
    StatusOptions,
    as_text,
    document,
    renderable,
)
from dcmirror.commands.status_tables import shortened
from dcmirror.core.escapes import shown
from dcmirror.core.judgement import judge
from dcmirror.core.sight import Sight
from dcmirror.core.verdict import Limits
from status_data import (
    AT,
    PID,
    a_hold,
    a_partition,
    a_report,
    a_sight,
    a_status,
    a_transfer,
    rates,
)

EVIL = "/pnfs/a\x1b[31m\nWARNING  forged\u202e\x07\udc80[bold]b[/bold]:smile:.dat"


def looked(sight: Sight | None = None, **over: Any) -> Look:
    sight = sight or a_sight(a_status(**over))
    return Look(sight, judge(sight, a_report(), Limits()), a_report())


def text_of(
    found: Look | None = None, width: int | None = None, verbosity: int = 0, **over: Any
) -> str:
    return as_text(renderable(found or looked(**over), verbosity), width)


def row(text: str, begin: str) -> str:
    """The line that begins with a word; runs of blanks are one."""
    lines = (" ".join(each.split()) for each in text.splitlines())
    return next(each for each in lines if each.startswith(begin))


def test_the_verdict_comes_first_and_its_reasons_next() -> None:
    lines = text_of(holds=[a_hold()]).splitlines()

    assert lines[0] == (
        f"WARNING  dcmirror watch (imsim on dtn03), pid {PID}, up 1 d 1 h, "
        "version 1.2.3"
    )
    assert "  • held for 1 min: door door.example.org:2880: connection refused" in lines
    assert lines[2] == ""


def test_a_transfer_shows_path_bytes_share_speed_phase_and_age() -> None:
    text = text_of(transfers=[a_transfer(attempt=2)], transfers_total=1)

    assert "12s data 10s 900 MB 45 % 90.0 MB/s 2 /pnfs/example.org/data/a.dat" == row(
        text, "12s"
    )


def test_jobs_that_wait_in_workers_are_counted_only() -> None:
    queued = a_transfer("/pnfs/queued.dat", phase="queued")
    text = text_of(transfers=[a_transfer(), queued], transfers_total=5)

    assert "1 transfer, 4 more in the workers' hands" in text
    assert "queued.dat" not in text


def test_only_the_first_of_very_many_transfers_are_shown() -> None:
    many = [a_transfer(f"/pnfs/{n}.dat") for n in range(150)]
    text = text_of(transfers=many, transfers_total=150)
    everything = text_of(transfers=many, transfers_total=150, verbosity=1)

    assert "150 transfers; the first 40" in text
    assert 40 == text.count(".dat")
    assert 150 == everything.count(".dat")


def test_rates_of_three_windows_and_since_the_start() -> None:
    grown = rates(900, files=900, bytes=9 * 10**11, failed=1)
    text = text_of(rates=grown)

    assert "mirrored 0 0 900 182,334" == row(text, "mirrored")
    assert "mean speed 0 B/s 0 B/s 1.00 GB/s 44.4 MB/s" == row(text, "mean speed")
    assert "failed 0 0 1 3" == row(text, "failed")


def test_what_was_given_up_or_skipped_is_told_by_its_reason() -> None:
    counts = {
        "failures": {"gone": 1, "forbidden": 2000},
        "skipped": {"read": 7},
        "covered": {"known": 2, "joined": 90},
    }

    assert "Given up 2,000 forbidden, 1 gone" == row(text_of(**counts), "Given up")
    assert "Skipped" not in text_of(**counts)
    text = text_of(**counts, verbosity=1)
    assert "Skipped 7 read" == row(text, "Skipped")
    assert row(text, "Covered").startswith("Covered 90 joined, 2 known: records")
    assert row(text, "skipped").split()[-1] == "7"


def test_a_window_that_the_run_does_not_fill_is_left_empty() -> None:
    young = {str(window): {"files": 7, "seconds": 42.0} for window in (60, 300, 900)}

    assert "mirrored 7 7" == row(text_of(rates=young, mirrored=7), "mirrored")


def test_a_hold_shows_since_when_and_its_next_probe() -> None:
    holds = [a_hold(), a_hold("credential", probe_in=None), a_hold("x", probing=True)]
    text = text_of(holds=holds)

    assert re.search(r"\d\d  +1m00  +in 21 s  door door.example.org:2880\n", text)
    assert re.search(r"by itself  credential\n", text)
    assert re.search(r" now  x\n", text)


def test_retries_show_when_and_why() -> None:
    due = {
        "task": "t",
        "path": "/pnfs/b.dat",
        "class": "transient",
        "attempt": 3,
        "in": 83.2,
    }
    jobs = {"ready": 4, "waiting": 1200, "out": 0}
    text = text_of(retries_due=[due], jobs=jobs)

    assert "1,200 to be tried again; the next 1" in text
    assert "1m23 3 transient /pnfs/b.dat" == row(text, "1m23")
    assert "0 of 10 streams busy; 4 ready, 1,200 to be tried again" in text


def test_partitions_show_lag_and_what_waits_behind_a_gap() -> None:
    several = [a_partition(3, lag=1234, pending=7, above_gap=50), a_partition(4)]
    text = text_of(partitions=several, lag={"3": 1234, "4": 0})

    assert "3 1,234 1,000 7 50" == row(text, "3 1,234")
    assert "2 partitions, lag 1,234 records" in text


def test_a_backlog_says_when_it_will_be_gone() -> None:
    text = text_of(lag={"0": 6000}, rates=rates(300, lag=-3000))

    assert "lag 6,000 records (-3,000 in 5 min; caught up in about 10 min)" in text


def test_a_worker_in_a_sync_and_one_that_is_missing_are_told() -> None:
    status = a_status(missing=[{"name": "worker 3", "deaths": 1, "in": 4.0}])
    status["workers"][0]["publishing"] = True
    text = text_of(looked(a_sight(status)))

    assert re.search(r"worker 1 .* syncing\n", text)
    assert "worker 3 died; again in 4 s" == row(text, "worker 3")


def test_lines_that_the_log_lacks_are_told_and_are_no_warning() -> None:
    text = text_of(log_lost=1200)

    assert "Log" not in text_of()
    assert "Log 1,200 lines could not be written" == row(text, "Log")
    assert text.startswith("WELL")


def test_shipping_tells_how_far_behind_it_is() -> None:
    report = a_report(
        state="shipping", behind_bytes=12 * 10**6, oldest_age_s=90.0, per_second=5000.0
    )
    sight = a_sight()
    text = text_of(Look(sight, judge(sight, report, Limits()), report))

    assert (
        "to elasticsearch: shipping at 5,000 events/s, 123,456 shipped, "
        "12.0 MB behind (the oldest of 1 min 30 s ago)"
    ) in text


def test_shipping_tells_what_was_refused_and_what_of_that_is_lost() -> None:
    report = a_report(dead_letters=2000, dead_letters_lost=7)
    text = text_of(Look(a_sight(), judge(a_sight(), report, Limits()), report))

    assert "shipped, 2,000 dead letters, 7 dead letters lost" in text


def test_a_stuck_daemon_shows_what_it_said_last() -> None:
    status = a_status(transfers=[a_transfer()], transfers_total=1, at=AT - 60)
    text = text_of(looked(a_sight(status, silence=60.0, process="T")))

    assert text.startswith("STUCK  dcmirror watch")
    assert "What it said last, 1 min ago:" in text
    assert "/pnfs/example.org/data/a.dat" in text


def test_quiet_is_the_verdict_alone() -> None:
    text = text_of(verbosity=-1, holds=[a_hold()])

    assert 2 == len(text.splitlines())


def test_no_name_forges_a_line_a_colour_or_a_command() -> None:
    """Even if status.json itself were written by somebody else."""
    evil = a_status(
        transfers=[a_transfer(EVIL)],
        transfers_total=1,
        holds=[a_hold(EVIL, cause=EVIL)],
        instance=EVIL,
        destination=EVIL,
        retries_due=[
            {"task": "t", "path": EVIL, "class": EVIL, "attempt": 1, "in": 1.0}
        ],
        credential={"path": EVIL},
    )
    plain = text_of(looked(a_sight(evil)))
    coloured = text_of(looked(a_sight(evil)), width=300)

    assert all(each.isprintable() for each in plain.splitlines())
    assert set(re.findall(r"\x1b\[[0-9;]*m", coloured)) == set(
        re.findall(r"\x1b[^m]*m", coloured)
    )
    assert "[bold]b[/bold]:smile:.dat" in plain
    assert not re.search("^WARNING  forged", plain, re.MULTILINE)
    assert line(looked(a_sight(evil))).isprintable()


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
@pytest.mark.parametrize("width", [20, 40, 80, 140, 300])
def test_no_line_is_wider_than_the_terminal(
    width: int, terminal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", terminal)
    found = looked(
        transfers=[a_transfer("/pnfs/" + "x" * 200), a_transfer("/pnfs/" + "漢" * 100)],
        transfers_total=2,
        holds=[a_hold(cause="because " * 40)],
    )
    from rich.cells import cell_len

    text = re.sub(r"\x1b\[[0-9;]*m", "", text_of(found, width=width))

    assert max(cell_len(each) for each in text.splitlines()) <= width


def test_a_narrow_terminal_takes_from_the_beginning_of_names_only() -> None:
    text = text_of(
        width=80,
        transfers=[a_transfer("/pnfs/example.org/data/2026/11/23/run-0042/a.fits")],
        transfers_total=1,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)

    assert row(text, "12s").startswith("12s data 10s 900 MB 45 % 90.0 MB/s …")
    assert row(text, "12s").endswith("run-0042/a.fits")


def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = looked(holds=[a_hold("credential")])

    assert "\x1b[1;31mSTUCK" in text_of(looked(a_sight(silence=60.0)), width=80)
    assert "\x1b" not in text_of(found)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in text_of(found, width=80)


def test_lines_do_not_end_in_blanks() -> None:
    text = text_of(transfers=[a_transfer()], transfers_total=1, holds=[a_hold()])

    assert [] == [each for each in text.split("\n") if each != each.rstrip()]


@pytest.mark.parametrize(
    ("path", "width", "text"),
    [
        ("/a/b.dat", 8, "/a/b.dat"),
        ("/a/bc.dat", 8, "…/bc.dat"[-8:]),
        ("/x/漢字", 5, "…漢字"),
        ("/x/漢字", 4, "…字"),
        ("/abc", 1, "…"),
    ],
)
def test_a_name_is_shortened_at_its_beginning(path: str, width: int, text: str) -> None:
    assert text == shortened(path, width)


def test_a_replay_beside_the_daemon_is_shown_with_its_rows() -> None:
    rows = {"total": 10, "done": 3, "failed_again": 1, "refused": 0}
    replay = a_sight(a_status(command="replay", rows=rows), command="replay")
    main = looked()
    found = Look(
        main.sight, main.judgement, None, ((replay, judge(replay, None, Limits())),)
    )

    assert "WELL  dcmirror replay" in text_of(found)
    assert "3 of 10 done, 1 failed again" in text_of(found)
    assert {"replay"} == document(found)["others"].keys()


def test_a_reconcile_is_shown_with_its_jobs_and_whether_it_waits() -> None:
    work = {"offered": 10, "ended": 3, "failed": 1, "yielding": True}
    beside = a_sight(a_status(command="reconcile", work=work), command="reconcile")
    main = looked()
    found = Look(
        main.sight, main.judgement, None, ((beside, judge(beside, None, Limits())),)
    )

    assert "3 of 10 done, 1 failed; gives way to watch" in text_of(found)


def test_a_dry_reconcile_has_little_to_show_and_is_well() -> None:
    names = ("version", "command", "instance", "host", "pid", "started", "at")
    whole = a_status(command="reconcile")
    dry = {name: whole[name] for name in (*names, "source", "destination")}
    beside = a_sight(dry, command="reconcile")
    main = looked()
    found = Look(
        main.sight, main.judgement, None, ((beside, judge(beside, None, Limits())),)
    )

    assert "WELL  dcmirror reconcile" in text_of(found)


def test_the_document_carries_verdict_reasons_status_and_shipping() -> None:
    found = looked(holds=[a_hold()])
    told = json.loads(json.dumps(document(found)))

    assert ("warning", 1, "running") == (
        told["verdict"],
        told["exit_status"],
        told["life"],
    )
    assert ["warning"] == [reason["verdict"] for reason in told["reasons"]]
    assert 182_334 == told["status"]["mirrored"]
    assert 123_456 == told["shipping"]["shipped"]


def test_a_line_of_follow_has_time_verdict_and_figures() -> None:
    grown = rates(60, files=41, bytes=5 * 10**9)
    text = line(looked(rates=grown, lag={"0": 12}))

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WELL 0 in hand, 0 ready, 0 to be tried again, "
        r"lag 12, 41 files and 5.00 GB in the last minute",
        text,
    )


def test_the_status_of_an_older_version_can_be_shown() -> None:
    old = {"pid": PID, "at": AT, "version": "0.1.0", "mirrored": 7}

    assert "WELL" in text_of(looked(a_sight(old)))


def test_escapes_of_a_name_that_is_escaped_already_stay() -> None:
    assert shown(shown(EVIL)) == shown(EVIL)


def test_options_have_their_defaults() -> None:
    options = StatusOptions(state=None, out=io.StringIO())  # type: ignore[arg-type]

    assert Limits() == options.limits
