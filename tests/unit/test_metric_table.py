"""Metrics: what status.json and shipper.json say, under names as Prometheus wants."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from test_status_snapshot import WALL, Board

from dcmirror.adapters import shipping_report
from dcmirror.adapters.metrics import Exposition, look_at
from dcmirror.adapters.shipping_report import ShippingReport
from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import HoldKey, HoldKind
from dcmirror.core.jobs import CopyRecord, Job, JobKind, Progress, ResultKind
from dcmirror.core.metric_table import METRICS, Kind, Metric
from dcmirror.core.tally import DURATION_BOUNDS, Cover
from dcmirror.core.verdict import Limits
from scraping import Scrape

DOOR, POOL = "door.example.org:2880", "pool1.example.org:24000"
#: What the commands themselves add to the snapshot.
MORE: dict[str, Any] = {
    "lag": {0: 5, 1: 0},
    "net": 3,
    "partitions": [
        {"topic": "billing", "partition": 0, "lag": 5, "committed": 90, "pending": 2},
        {"topic": "billing", "partition": 1, "lag": None, "committed": 7, "pending": 0},
    ],
    "kafka": {"trouble": None, "paused": False, "silent_for": 0.1},
    "credential": {"path": "/p", "not_after": WALL + 7200.0, "trouble": None},
}
REPORT = ShippingReport(
    pid=1,
    name="logger",
    at=WALL - 3.0,
    sink="elasticsearch",
    state="retrying",
    since=WALL - 60.0,
    shipped=1000,
    duplicates=2,
    dead_letters=1,
    dead_letters_lost=3,
    spoiled=4,
    missed=5,
    behind_bytes=4096,
    oldest_age_s=61.5,
)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A daemon in the middle of its work."""
    board = Board(tmp_path / "status.json")
    history = board.history
    history.offer("good", "bad", "damaged", "running", event_time=WALL - 5.0)
    history.hand_out()
    uses = ((DOOR, "door", 1, 1, 0), (POOL, "pool", 1, 1, 10))
    history.end(
        "good",
        ResultKind.MIRRORED,
        hosts=uses,
        copy=CopyRecord("good", "/d/good", "P", 10, 1, True, 5, WALL, WALL - 5.0),
        started_at=WALL - 0.2,
        ended_at=WALL,
    )
    history.fail("bad", FailureClass.UNSAFE_PATH)
    history.end("damaged", ResultKind.SUPERSEDED, hosts=((DOOR, "door", 1, 0, 0),))
    history.engine.tally.take_retry("checksum-mismatch")
    history.engine.tally.take_cover(Cover.JOINED)
    history.engine.progress["running"] = Progress("running", "data", 4, 10, WALL)
    history.engine.space.free_bytes = 10**12
    history.engine.holds.begin(HoldKey(HoldKind.POOL, POOL), "refused", 940.0)
    return board


def scraped(board: Board, later: float = 0.0, **more: Any) -> Scrape:
    """What Prometheus gets some seconds after the daemon wrote its status."""
    board.show(**(MORE | more))
    os.utime(board.path, (WALL, WALL))
    shipping = board.path.with_name("shipper.json")
    shipping_report.write(shipping, REPORT)
    exposition = Exposition(board.path, shipping, wall=lambda: WALL + later)
    return Scrape(exposition.render("")[1].decode())


def test_every_metric_of_the_table_has_a_sample(board: Board) -> None:
    found = scraped(board)

    shown = {name for name, _ in found.samples}
    for metric in METRICS:
        name = f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name
        assert name in shown, f"{metric.name} shows nothing"
        labels = [dict(pairs) for known, pairs in found.samples if known == name]
        assert {frozenset(metric.labels)} == {frozenset(each) for each in labels}


def test_files_are_counted_by_outcome_and_reason(board: Board) -> None:
    found = scraped(board)

    assert 1 == found("files_total", outcome="mirrored", reason="")
    assert 0 == found("files_total", outcome="adopted", reason="")
    assert 1 == found("files_total", outcome="failed", reason="unsafe-path")
    assert 0 == found("files_total", outcome="failed", reason="gone")
    assert 1 == found("files_total", outcome="skipped", reason="superseded")
    assert 10 == found("mirrored_bytes_total")
    assert {"checksum-mismatch": 1} == {
        name: n for name, n in found.by("retries_total", "class").items() if n
    }


def test_records_without_an_outcome_are_no_files(board: Board) -> None:
    found = scraped(board)

    assert {"joined": 1.0, "hint-ignored": 0.0, "known": 0.0} == found.by(
        "covered_records_total", "reason"
    )
    assert {"superseded": 1.0} == found.by("files_total", "reason", outcome="skipped")


def test_histograms_are_cumulative(board: Board) -> None:
    found = scraped(board)

    buckets = found.by("transfer_duration_seconds_bucket", "le")
    assert [float(bound) for bound in DURATION_BOUNDS] == [
        float(le) for le in buckets if le != "+Inf"
    ]
    assert 0 == buckets["0.1"]
    assert {1.0} == {n for le, n in buckets.items() if float(le) >= 0.3}
    assert 0.2 == pytest.approx(found("transfer_duration_seconds_sum"), abs=1e-3)
    assert 5.0 == pytest.approx(found("event_delay_seconds_sum"), abs=1e-3)


def test_impact_is_shown_by_host_and_for_each_file(board: Board) -> None:
    found = scraped(board)

    assert 2 == found("http_requests_total", host=DOOR, role="door")
    assert 1 == found("http_connections_total", host=POOL, role="pool")
    assert 10 == found("http_received_bytes_total", host=POOL, role="pool")
    assert {"door": 2.0, "pool": 1.0} == found.by("requests_per_file", "role")


def test_holds_are_shown_by_kind_since_when_and_where(board: Board) -> None:
    found = scraped(board)

    assert {kind.value: float(kind is HoldKind.POOL) for kind in HoldKind} == found.by(
        "holds", "kind"
    )
    assert WALL - 60.0 == found("hold_start_time_seconds", kind="pool", host=POOL)


def test_work_and_workers_are_counted_by_state(board: Board) -> None:
    found = scraped(board)

    assert (1, 1) == (found("transfers_in_flight"), found("jobs", state="out"))
    assert 32 == found("transfer_slots")
    assert {"ready": 2, "starting": 0, "silent": 0, "missing": 1} == found.by(
        "workers", "state"
    )
    assert 6 == found("destination_reserved_bytes")


def test_worker_that_owes_a_beat_is_silent_unless_it_publishes(board: Board) -> None:
    board.history.now += Limits().worker_silence + 5

    assert {"ready": 1, "silent": 1} == {
        state: n
        for state, n in scraped(board).by("workers", "state").items()
        if n and state != "missing"
    }


def test_partition_whose_lag_is_unknown_shows_none(board: Board) -> None:
    found = scraped(board)

    assert {"0": 5} == found.by("kafka_lag_records", "partition")
    assert {"0": 90, "1": 7} == found.by("kafka_committed_offset", "partition")


def test_troubles_are_ones_and_zeros(board: Board) -> None:
    well = scraped(board)
    ill = scraped(board, kafka={"trouble": "no broker", "paused": True})

    assert (0, 0) == (well("kafka_trouble"), well("kafka_paused"))
    assert (1, 1) == (ill("kafka_trouble"), ill("kafka_paused"))
    assert 0 == well("credential_trouble")


def test_time_left_is_that_of_the_scrape_not_of_the_status(board: Board) -> None:
    assert 7200 == scraped(board)("credential_left_seconds")
    assert 7100 == scraped(board, later=100.0)("credential_left_seconds")
    assert -100 == scraped(board, later=7300.0)("credential_left_seconds")


def test_shipping_has_state_age_and_amounts(board: Board) -> None:
    found = scraped(board)

    assert {"retrying"} == {
        state for state, on in found.by("shipping_state", "state").items() if on
    }
    assert (3, 61.5, 4096) == (
        found("shipping_age_seconds"),
        found("spool_age_seconds"),
        found("spool_bytes"),
    )
    assert (1000, 2, 1, 3, 4, 5) == tuple(
        found(f"{name}_total")
        for name in (
            "shipped_events",
            "shipping_duplicates",
            "dead_letters",
            "dead_letters_lost",
            "spoiled_events",
            "missed_segments",
        )
    )


@pytest.mark.parametrize(("age", "up"), [(0.0, 1), (20.0, 1), (20.1, 0), (1e6, 0)])
def test_daemon_is_up_while_its_status_is_fresh(
    board: Board, age: float, up: int
) -> None:
    found = scraped(board, later=age)

    assert (up, age) == (found("up"), pytest.approx(found("status_age_seconds")))


def test_status_that_could_only_be_touched_is_fresh(board: Board) -> None:
    """On a full disk the old file stays, with a new time."""
    board.show(**MORE)
    os.utime(board.path, (WALL + 1000, WALL + 1000))

    look = look_at(board.path, board.path.with_name("none"), WALL + 1001)

    assert (True, 1.0) == (look.is_up, look.age)


def test_daemon_that_has_ended_is_not_up(board: Board) -> None:
    board.show(**MORE)
    with board.board.until_the_end():
        pass

    look = look_at(board.path, board.path.with_name("none"), WALL)

    assert look.status["ended"]
    assert not look.is_up


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        "7",
        '{"at": "yesterday"}',
        '{"pid": 1}',
    ],
)
def test_whatever_is_wrong_with_the_files_it_is_down_and_nothing_breaks(
    tmp_path: Path, content: str | None
) -> None:
    path, shipping = tmp_path / "status.json", tmp_path / "shipper.json"
    if content is not None:
        path.write_text(content)
        shipping.write_text(content)

    found = Scrape(Exposition(path, shipping).render("")[1].decode())

    assert {("dcmirror_up", frozenset()): 0.0} == found.samples


def mangled(value: Any) -> list[Any]:
    """Other things that could stand in the place of a value."""
    return [None, 7, "word", [], {}, [None], {"a": None}, [{"kind": None}], [7]]


def test_file_of_another_version_costs_no_more_than_the_metrics_it_changes(
    board: Board, tmp_path: Path
) -> None:
    board.show(**MORE)
    good = json.loads(board.path.read_text())
    other = tmp_path / "other.json"
    exposition = Exposition(other, tmp_path / "none")
    for key in good.keys() - {"at"}:
        for value in mangled(good[key]):
            other.write_text(json.dumps(good | {key: value}))
            lines = exposition.render("")[1].decode().splitlines()
            assert sum(line[0] != "#" for line in lines) > 80, (key, value)


def test_hostile_names_stay_inside_their_labels(board: Board) -> None:
    name = 'evil"\n\\dcmirror_up 9 # {host="x"}'
    board.history.engine.tally.hosts.count([(name, "pool", 3, 0, 0)])

    found = scraped(board)

    assert 3 == found("http_requests_total", host=name, role="pool")
    assert 1 == found("up")


# Names


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_name_help_and_labels_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"dcmirror_[a-z][a-z_]*[a-z]", metric.name)
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    assert not re.search(
        r"_(ms|milliseconds|mb|kb|bits|count|sum|bucket)(_|$)", metric.name
    )
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    # These are Prometheus's own.
    assert not {"job", "instance", "le", "quantile", "__name__"} & set(metric.labels)


def test_names_are_unique() -> None:
    names = [metric.name for metric in METRICS]

    assert len(set(names)) == len(names)


def test_openmetrics_is_given_to_who_asks_for_it(board: Board) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    board.show(**MORE)
    exposition = Exposition(board.path, board.path.with_name("none"))

    content_type, text = exposition.render(
        "application/openmetrics-text; version=1.0.0"
    )

    assert content_type.startswith("application/openmetrics-text")
    families = {family.name for family in text_string_to_metric_families(text.decode())}
    assert {metric.name.removesuffix("_total") for metric in METRICS} == families
    plain, _ = exposition.render("application/openmetrics-text; version=none")
    assert plain.startswith("text/plain")


def test_job_that_waits_makes_the_queue_old(board: Board) -> None:
    job = Job("t", JobKind.TRIGGER, "/d/t", "t", "https://x/t", accepted_at=WALL - 90)
    board.history.engine.offer(job)

    assert 90 == scraped(board)("queue_age_seconds")


def test_shipping_report_of_the_reader_has_every_field_that_metrics_read() -> None:
    fields = asdict(REPORT).keys()

    assert {"state", "since", "at", "behind_bytes", "oldest_age_s"} <= fields
