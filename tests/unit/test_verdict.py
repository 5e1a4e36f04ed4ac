"""What is well, a warning, trouble, or not running; and the line for Nagios."""

from __future__ import annotations

from typing import Any

import pytest

from dcmirror.cli_status import status
from dcmirror.core.checkline import check_line
from dcmirror.core.judgement import Judgement, judge
from dcmirror.core.sight import Life
from dcmirror.core.verdict import HOLD_TROUBLE, Limits, StatusVerdict
from status_data import (
    AT,
    PID,
    a_hold,
    a_report,
    a_sight,
    a_status,
    a_transfer,
    a_worker,
    rates,
)

WELL, WARNING, TROUBLE, NOT_RUNNING = StatusVerdict


def judged(shipping: dict[str, Any] | None = None, **over: Any) -> Judgement:
    """What is thought of a running daemon with these members of status.json."""
    return judge(a_sight(a_status(**over)), shipping, Limits())


def said(judgement: Judgement) -> str:
    return "; ".join(reason.text for reason in judgement.reasons)


def test_a_quiet_daemon_is_well() -> None:
    assert (WELL, Life.RUNNING, ()) == (
        judged(a_report()).verdict,
        judged(a_report()).life,
        judged(a_report()).reasons,
    )


def test_verdicts_are_the_numbers_that_monitoring_systems_know() -> None:
    assert [0, 1, 2, 3] == [int(each) for each in StatusVerdict]


# -- is it there, does it turn --------------------------------------------------------


@pytest.mark.parametrize(
    ("silence", "verdict", "word"),
    [
        (4.9, WELL, "well"),
        (5.1, WARNING, "warning"),
        (19.0, WARNING, "warning"),
        (20.1, TROUBLE, "stuck"),
        (86400.0, TROUBLE, "stuck"),
    ],
)
def test_silence_while_the_lock_is_held_is_being_stuck(
    silence: float, verdict: StatusVerdict, word: str
) -> None:
    judgement = judge(a_sight(silence=silence), None, Limits())

    assert (verdict, word) == (judgement.verdict, judgement.word)


@pytest.mark.parametrize(
    ("letter", "words"),
    [("T", "stopped by a signal"), ("D", "a disk"), ("?", "no life for 42 s")],
)
def test_the_kernel_knows_why_a_daemon_is_stuck(letter: str, words: str) -> None:
    judgement = judge(a_sight(silence=42.0, process=letter), None, Limits())

    assert words in said(judgement)
    assert f"pid {PID}" in said(judgement)


def test_what_a_stuck_daemon_said_last_counts_no_more() -> None:
    status = a_status(holds=[a_hold()])

    assert "held" not in said(judge(a_sight(status, silence=60.0), None, Limits()))


def test_a_daemon_in_a_container_is_known_by_the_number_it_gave_itself() -> None:
    inside = a_sight(a_status(pid=7), pid=99, signed=7)
    another = a_sight(a_status(pid=8), pid=99, signed=7)

    assert Life.RUNNING is judge(inside, None, Limits()).life
    assert Life.RUNNING is not judge(another, None, Limits()).life


def test_a_daemon_that_has_not_told_anything_yet_is_starting() -> None:
    young = a_sight(pid=99, running_for=3.0, silence=7200.0)
    old = a_sight(pid=99, running_for=300.0, silence=7200.0)

    assert (WARNING, Life.STARTING) == (
        judge(young, None, Limits()).verdict,
        judge(young, None, Limits()).life,
    )
    assert (TROUBLE, "stuck") == (
        judge(old, None, Limits()).verdict,
        judge(old, None, Limits()).word,
    )


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({}, "killed or crashed 1 h ago"),
        ({"ended": {"at": AT - 7200, "error": None}}, "stopped 2 h ago"),
        ({"ended": {"at": AT - 60, "error": "no disk"}}, "ended 1 min ago: no disk"),
    ],
)
def test_a_daemon_that_is_gone_says_how_it_went(
    over: dict[str, Any], words: str
) -> None:
    gone = a_sight(a_status(at=AT - 3600, **over), is_running=False, pid=None)
    judgement = judge(gone, a_report(), Limits())

    assert (NOT_RUNNING, "not running") == (judgement.verdict, judgement.word)
    assert words in said(judgement)


def test_a_place_where_nothing_ever_ran_is_not_running() -> None:
    nothing = a_sight({}, is_running=False, pid=None)

    assert "never run here" in said(judge(nothing, None, Limits()))


def test_what_cannot_be_seen_is_unknown() -> None:
    hidden = a_sight({}, is_running=None, problem="/var/lib/x: Permission denied")
    judgement = judge(hidden, None, Limits())

    assert (NOT_RUNNING, "unknown") == (judgement.verdict, judgement.word)
    assert "Permission denied" in said(judgement)


def test_a_status_that_cannot_be_written_is_a_warning() -> None:
    judgement = judge(a_sight(problem="touched, but not written"), None, Limits())

    assert (WARNING, "touched, but not written") == (
        judgement.verdict,
        said(judgement),
    )


# -- what it says of itself -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "seconds", "verdict"),
    [
        ("destination", 10.0, WARNING),
        ("destination", 61.0, TROUBLE),
        ("credential", 1.0, TROUBLE),
        ("door door:443", 899.0, WARNING),
        ("door door:443", 900.0, TROUBLE),
        ("pool pool7:1234", 1800.0, WARNING),
        ("pool pool7:1234", 3600.0, TROUBLE),
        ("books", 301.0, TROUBLE),
        ("source door:443", 60.0, WARNING),
    ],
)
def test_a_hold_is_a_warning_until_it_lasts(
    kind: str, seconds: float, verdict: StatusVerdict
) -> None:
    judgement = judged(holds=[a_hold(kind, **{"for": seconds})])

    assert verdict == judgement.verdict
    assert f"{kind}: connection refused" in said(judgement)


def test_an_alerted_hold_is_trouble() -> None:
    assert TROUBLE == judged(holds=[a_hold("pool p:1", alerted=True)]).verdict


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        (6 * 3600.0, WELL),
        (6 * 3600.0 - 1, WARNING),
        (3600.0, WARNING),
        (3599.0, TROUBLE),
        (-5.0, TROUBLE),
        (None, WELL),
    ],
)
def test_a_proxy_near_its_end_is_told(
    left: float | None, verdict: StatusVerdict
) -> None:
    assert verdict == judged(credential_seconds_left=left).verdict


def test_a_credential_that_is_held_is_told_once() -> None:
    judgement = judged(holds=[a_hold("credential")], credential_seconds_left=-9.0)

    assert 1 == len(judgement.reasons)


@pytest.mark.parametrize(("seconds", "verdict"), [(1.0, WARNING), (301.0, TROUBLE)])
def test_kafka_out_of_reach_is_trouble_after_a_while(
    seconds: float, verdict: StatusVerdict
) -> None:
    kafka = {"trouble": "no broker", "trouble_for": seconds, "silent_for": 0.0}

    assert verdict == judged(kafka=kafka).verdict


def test_an_intake_that_hangs_is_a_warning() -> None:
    kafka = {"trouble": None, "silent_for": 21.0}

    assert "has hung for 21 s" in said(judged(kafka=kafka))


def test_a_backlog_that_shrinks_is_well() -> None:
    assert WELL == judged(lag={"0": 10**7}, rates=rates(900, lag=-5000)).verdict


def test_a_lag_that_grows_is_a_warning() -> None:
    growing = rates(900, lag=5000)
    growing["300"]["lag"] = 1
    judgement = judged(lag={"0": 4000, "1": 3000}, rates=growing)

    assert WARNING == judgement.verdict
    assert "lag is 7,000 records and grows: 5,000 more in 15 min" == said(judgement)


def test_a_lag_that_grew_but_no_longer_does_is_well() -> None:
    assert WELL == judged(lag={"0": 7000}, rates=rates(900, lag=5000)).verdict


@pytest.mark.parametrize(
    ("lag", "verdict"),
    [(99, WELL), (100, WARNING), (499, WARNING), (500, TROUBLE)],
)
def test_limits_of_the_lag_can_be_given(lag: int, verdict: StatusVerdict) -> None:
    sight = a_sight(a_status(lag={"0": lag - 1, "1": 1}))

    assert verdict == judge(sight, None, Limits(warn_lag=100, critical_lag=500)).verdict


@pytest.mark.parametrize(
    ("restarts", "verdict"), [(2, WELL), (3, WARNING), (9, WARNING), (10, TROUBLE)]
)
def test_children_that_die_in_a_row_are_a_storm(
    restarts: int, verdict: StatusVerdict
) -> None:
    assert verdict == judged(rates=rates(300, restarts=restarts)).verdict


def test_a_worker_that_dies_without_having_worked_is_trouble() -> None:
    missing = [{"name": "worker 1", "deaths": 3, "in": 2.0}]

    assert TROUBLE == judged(missing=missing).verdict
    missing[0]["name"] = "logger"
    assert WELL == judged(missing=missing).verdict


def test_a_worker_without_a_beat_is_a_warning() -> None:
    judgement = judged(workers=[a_worker(1, beat_age=31.0), a_worker(2)])

    assert "worker 1 (pid 5001) has shown no life for 31 s" == said(judgement)


def waiting(count: int, seconds: float) -> list[dict[str, Any]]:
    return [a_transfer(phase="pool_queue", phase_for=seconds) for _ in range(count)]


def test_many_that_wait_for_their_first_byte_are_a_warning() -> None:
    jam = [*waiting(3, 121.0), a_transfer(), a_transfer()]

    assert "3 of 5 transfers wait for their first byte, up to 2 min 1 s" == said(
        judged(transfers=jam)
    )


@pytest.mark.parametrize(
    "transfers",
    [
        waiting(2, 400.0),  # too few
        waiting(5, 100.0),  # not long enough
        [*waiting(3, 400.0), *(a_transfer() for _ in range(4))],  # the others run
    ],
)
def test_a_few_slow_starts_are_well(transfers: list[dict[str, Any]]) -> None:
    assert WELL == judged(transfers=transfers).verdict


def test_with_the_broker_away_a_jam_has_its_name() -> None:
    kafka = {"trouble": "no broker", "trouble_for": 40.0}
    judgement = judged(transfers=waiting(5, 31.0), kafka=kafka)

    assert "doors and pools wait for their own producers" in said(judgement)


@pytest.mark.parametrize(
    ("failed", "files", "verdict"),
    [
        (9, 0, WELL),
        (10, 1000, WELL),
        (10, 190, WARNING),
        (60, 59, TROUBLE),
        (10, 0, TROUBLE),
    ],
)
def test_many_files_given_up_are_told(
    failed: int, files: int, verdict: StatusVerdict
) -> None:
    assert verdict == judged(rates=rates(900, failed=failed, files=files)).verdict


def test_a_destination_that_is_nearly_full_is_a_warning() -> None:
    over = {"free_bytes": 30 * 10**9, "min_free": 10**10}

    assert WELL == judged(**over).verdict
    assert WARNING == judged(**over, reserved_bytes=11 * 10**9).verdict


def test_what_only_concerns_observing_is_never_trouble() -> None:
    """G7: nobody is called at night for a dashboard."""
    dead = a_report(at=AT - 10**6)
    paused = a_report(state="paused", since=AT - 10**6, reason="401")
    journal = {"bytes": 0, "dropped": 5, "trouble": "journal: No space left"}

    assert WARNING == judged(dead).verdict
    assert WARNING == judged(paused).verdict
    assert WARNING == judged(journal=journal, rates=rates(900, dropped=5)).verdict


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"state": "retrying", "since": AT - 9, "reason": "refused"}, "refused"),
        ({"state": "paused", "since": AT - 1}, "paused for 1 s"),
        ({"state": "shipping", "oldest_age_s": 601.0}, "10 min 1 s behind"),
        ({"state": "shipping", "reason": "set aside: 3"}, "goes on, but: set aside: 3"),
        ({"state": "idle", "reason": "no template"}, "goes on, but: no template"),
        ({"at": AT - 61}, "nobody has shipped the journal for 1 min 1 s"),
    ],
)
def test_shipping_in_want_of_care_is_told(over: dict[str, Any], words: str) -> None:
    assert words in said(judged(a_report(**over)))


@pytest.mark.parametrize(
    "over",
    [
        {"state": "shipping", "oldest_age_s": 599.0, "behind_bytes": 10**9},
        {"state": "retrying", "since": AT - 1, "reason": "refused"},
        {"sink": "none", "at": AT - 10**6},
    ],
)
def test_shipping_that_goes_on_is_well(over: dict[str, Any]) -> None:
    assert WELL == judged(a_report(**over)).verdict


def test_the_worst_reason_comes_first() -> None:
    judgement = judged(
        holds=[a_hold("pool p:1"), a_hold("credential")], credential_seconds_left=7200.0
    )

    assert [TROUBLE, WARNING] == [reason.verdict for reason in judgement.reasons]


def test_the_status_of_an_older_version_can_be_judged() -> None:
    """Before an upgrade's restart the file lacks whatever is new."""
    old = {"pid": PID, "at": AT, "holds": [{"kind": "books", "cause": "x", "for": 1.0}]}

    assert WARNING == judge(a_sight(old), None, Limits()).verdict
    assert WELL == judge(a_sight({"pid": PID, "at": AT}), None, Limits()).verdict


def test_the_help_says_where_warnings_and_trouble_begin() -> None:
    text = " ".join((status.help or "").split())
    limits = Limits()
    said_there = {
        f"a proxy with less than {limits.warn_credential / 3600:.0f} hours",
        "a proxy with less than an hour",
        f"first byte for more than {limits.first_byte / 60:.0f} minutes",
        f"no life for {limits.slow:.0f} seconds. Trouble",
        f"no life for {limits.stuck:.0f} seconds.",
        f"out of reach for {limits.kafka_trouble / 60:.0f} minutes",
        f"more than {HOLD_TROUBLE['destination'] / 60:.0f} minute (destination), "
        f"{HOLD_TROUBLE['books'] / 60:.0f} (books), "
        f"{HOLD_TROUBLE['door'] / 60:.0f} (door, source) or "
        f"{HOLD_TROUBLE['pool'] / 60:.0f} (a pool)",
    }

    assert {each for each in said_there if each not in text} == set()
    assert (limits.warn_restarts, limits.trouble_restarts) == (3, 10)
    assert limits.trouble_credential == 3600
    assert HOLD_TROUBLE["door"] == HOLD_TROUBLE["source"]


# -- the line for monitoring systems --------------------------------------------------


def test_the_check_line_has_the_word_of_the_exit_status() -> None:
    words = []
    for over in (
        {},
        {"holds": [a_hold()]},
        {"holds": [a_hold("credential")]},
    ):
        sight = a_sight(a_status(**over))
        words.append(check_line(sight, judge(sight, None, Limits()), Limits()))
    gone = a_sight(is_running=False)
    words.append(check_line(gone, judge(gone, None, Limits()), Limits()))

    assert ["OK", "WARNING", "CRITICAL", "UNKNOWN"] == [w.split()[1] for w in words]
    assert all(word.startswith("DCMIRROR ") for word in words)


def test_the_check_line_has_performance_data_with_its_limits() -> None:
    limits = Limits(warn_lag=100)
    sight = a_sight(a_status(lag={"0": 5, "1": 7}))
    line = check_line(sight, judge(sight, None, limits), limits)
    text, _, figures = line.partition(" | ")

    assert "DCMIRROR OK - 0 files in hand, 0 ready" == text
    assert "lag=12;100;;0" in figures.split()
    assert "credential=43200s;21600:;3600:" in figures.split()
    assert "mirrored=182334c" in figures.split()
    assert "age=0.4s;5;20;0" in figures.split()


def test_the_check_line_tells_the_spool_where_something_is_shipped() -> None:
    sight, report = a_sight(), a_report(behind_bytes=10**6, oldest_age_s=42.0)
    judgement = judge(sight, report, Limits())
    line = check_line(sight, judgement, Limits(), report)
    alone = check_line(sight, judgement, Limits(), a_report(sink="none"))

    assert {"spool=1000000B;;;0", "spool_age=42s;600;;0"} <= set(line.split())
    assert "spool" not in alone


def test_nothing_in_a_cause_forges_the_check_line() -> None:
    sight = a_sight(a_status(holds=[a_hold(cause="a\nOK | lag=0\x1b[2J")]))
    line = check_line(sight, judge(sight, None, Limits()), Limits())

    assert 1 == line.count("\n")
    assert 1 == line.count("|")
    assert line[:-1].isprintable()


def test_a_daemon_that_is_gone_has_no_performance_data() -> None:
    gone = a_sight(is_running=False)

    assert "|" not in check_line(gone, judge(gone, None, Limits()), Limits())
