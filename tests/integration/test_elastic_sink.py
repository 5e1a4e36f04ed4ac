"""The sink against a server in trouble: nothing is lost, and nothing is kept back."""

from __future__ import annotations

import base64
import json
import os

import pytest

from contracts.shipping import SEGMENT, Place, ship, total
from dcmirror.adapters.dead_letters import DeadLetters
from dcmirror.adapters.elastic_sink import ElasticSink
from dcmirror.adapters.sinks import ShippedLine
from dcmirror.core.bulk import Refusal
from dcmirror.settings import Elasticsearch
from helpers import free_port
from servers.elastic_stub import ElasticStub, Fault, error

EVERY_PAUSE = 15.0


@pytest.fixture
def stub():
    with ElasticStub() as stub:
        yield stub


class Bench:
    """A sink on the stub, and lines for it."""

    def __init__(self, stub, path, **settings):
        self.stub = stub
        self.letters = DeadLetters(path / "dead-letters.ndjson")
        self.pauses = []
        self.place = Place(
            Elasticsearch(urls=(stub.url,), **settings), "default", dict, dict
        )
        self.sink = ElasticSink(self.place.settings, self.letters, jitter=self.jitter)

    def jitter(self, low, high):
        self.pauses.append(high)
        return high

    def lines(self, *numbers):
        return [self.place.line(number) for number in numbers]

    def arrived(self):
        found = [json.loads(body) for body in self.stub.documents.values()]
        return sorted(document["event"]["duration"] for document in found)


@pytest.fixture
def bench(stub, tmp_path):
    made = Bench(stub, tmp_path)
    yield made
    made.sink.close()


def test_items_that_are_told_to_wait_come_again_alone(bench, stub):
    refused = (429, "es_rejected_execution_exception")
    stub.faults.append(Fault(items={1: refused, 3: refused}))
    receipt = bench.sink.ship(bench.lines(0, 1, 2, 3, 4))

    assert 3 == receipt.taken
    assert bench.lines(1, 3) == list(receipt.rest)
    assert receipt.pause > 0
    assert "es_rejected_execution_exception" in receipt.trouble
    assert not receipt.needs_help
    assert not bench.sink.ship(receipt.rest).rest
    assert [0, 1, 2, 3, 4] == bench.arrived()
    assert 2 == len(stub.bulks[-1].ids)


@pytest.mark.parametrize(
    "fault",
    [
        error(429, "es_rejected_execution_exception"),
        error(503, "cluster_block_exception"),
        Fault(502, b"<html>bad gateway</html>", takes=False),
        Fault(200, b"garbage"),
        Fault(200, b'{"errors":false,"items":[{"create":{"status":201}}]}'),
        Fault(200, {"errors": False}),
        Fault(200, []),
        Fault(200, b""),
        Fault(cuts=0),
        Fault(cuts=40),
    ],
    ids=lambda fault: f"{fault.status}-{str(fault.body)[:12]}-{fault.cuts}",
)
def test_a_request_that_fails_comes_again_whole(bench, stub, fault):
    """Whatever the server took of it: the second time it says 409."""
    stub.faults.append(fault)
    lines = bench.lines(1, 2, 3)
    receipt = bench.sink.ship(lines)

    assert 0 == receipt.taken
    assert lines == list(receipt.rest)
    assert receipt.pause > 0
    assert receipt.trouble
    assert not receipt.needs_help
    again = bench.sink.ship(receipt.rest)
    assert (3, []) == (again.taken, list(again.rest))
    assert (3 if fault.takes else 0) == again.duplicates
    assert [1, 2, 3] == bench.arrived()


def test_a_server_that_does_not_answer_in_time_is_tried_again(stub, tmp_path):
    bench = Bench(stub, tmp_path, timeout=0.2)
    bench.sink.ship(bench.lines(1))
    stub.faults.append(Fault(delay=1.0))
    receipt = bench.sink.ship(bench.lines(2))

    assert "timed out" in receipt.trouble
    assert bench.lines(2) == list(receipt.rest)
    ship(bench.sink, receipt.rest)
    assert [1, 2] == bench.arrived()
    bench.sink.close()


def test_nobody_listening_is_told_in_plain_words(tmp_path):
    sink = ElasticSink(
        Elasticsearch(urls=(f"http://127.0.0.1:{free_port()}",)),
        DeadLetters(tmp_path / "d"),
    )
    receipt = sink.ship([ShippedLine(SEGMENT, 1, b'{"data_stream":{}}')])

    assert 1 == receipt.taken  # set aside, without a server
    line = Place(None, "default", dict, dict).line(2)
    receipt = sink.ship([line])
    assert [line] == list(receipt.rest)
    assert receipt.trouble.startswith("http://127.0.0.1:")
    assert receipt.trouble.endswith("Connection refused")
    sink.close()


def test_pauses_grow_and_begin_anew_after_a_success(bench, stub):
    for _ in range(8):
        stub.faults.append(error(503, "unavailable"))
    ship(bench.sink, bench.lines(1))
    stub.faults.append(error(503, "unavailable"))
    ship(bench.sink, bench.lines(2))

    assert [0.5, 1, 2, 4, 8, 15, 15, 15, 0.5] == bench.pauses


def test_with_no_right_to_write_it_pauses_and_drops_nothing(bench, stub):
    stub.key = "ApiKey right"
    receipt = bench.sink.ship(bench.lines(1, 2))

    assert (0, 2) == (receipt.taken, len(receipt.rest))
    assert receipt.needs_help
    assert "security_exception" in receipt.trouble
    stub.key = None
    assert (2, 0, 0) == total(ship(bench.sink, receipt.rest))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, "security_exception"),
        (403, "cluster_block_exception"),
        (404, "index_not_found_exception"),
        (400, "index_closed_exception"),
    ],
)
def test_what_a_person_must_put_right_is_waited_for(bench, stub, status, kind):
    stub.faults.append(Fault(items={"*": (status, kind)}))
    receipt = bench.sink.ship(bench.lines(1, 2))

    assert (0, 2) == (receipt.taken, len(receipt.rest))
    assert receipt.needs_help
    assert kind in receipt.trouble
    assert not bench.letters.path.exists()


def test_a_new_key_in_the_file_is_used_at_once(stub, tmp_path):
    key = tmp_path / "key"
    key.write_text("old:secret\n")
    stub.key = f"ApiKey {base64.b64encode(b'new:secret').decode()}"
    bench = Bench(stub, tmp_path, api_key_file=key)
    receipt = bench.sink.ship(bench.lines(1))

    assert receipt.needs_help
    assert not bench.sink.is_cured()
    (tmp_path / "next").write_text("new:secret")
    os.rename(tmp_path / "next", key)
    assert bench.sink.is_cured()
    assert (1, 0, 0) == total(ship(bench.sink, receipt.rest))
    assert not bench.sink.is_cured()
    bench.sink.close()


def test_a_key_file_that_is_missing_is_waited_for(stub, tmp_path):
    key = tmp_path / "key"
    bench = Bench(stub, tmp_path, api_key_file=key)
    receipt = bench.sink.ship(bench.lines(1))

    assert receipt.needs_help
    assert str(key) in receipt.trouble
    key.write_text("a:b")
    assert (1, 0, 0) == total(ship(bench.sink, receipt.rest))
    bench.sink.close()


def test_a_servers_error_that_sticks_to_one_line_ends_it(bench, stub):
    """It keeps back no other, and is given up only while others are taken."""
    stub.rule = lambda body: (500, "boom") if b"number 2" in body else None
    receipts = ship(bench.sink, bench.lines(1, 2, 3))

    assert (3, 0, 1) == total(receipts)
    assert [1, 3] == bench.arrived()
    assert receipts[1].is_stuck
    assert max(bench.pauses) == EVERY_PAUSE
    assert 500 == json.loads(bench.letters.path.read_text())["status"]


def test_an_outage_between_does_not_begin_the_count_anew(bench, stub):
    stub.rule = lambda body: (500, "boom") if b"number 2" in body else None
    rest, dead = bench.lines(1, 2, 3), 0
    for _ in range(12):
        receipt = bench.sink.ship(rest)
        rest, dead = receipt.rest, dead + receipt.dead
        if rest:
            stub.faults.append(error(503, "unavailable"))
            rest = bench.sink.ship(rest).rest

    assert 1 == dead


def test_a_servers_error_for_every_line_ends_none(bench, stub):
    stub.rule = lambda _: (500, "boom")
    rest = bench.lines(1, 2)
    for _ in range(40):
        receipt = bench.sink.ship(rest)
        rest = receipt.rest

    assert bench.lines(1, 2) == list(rest)
    assert receipt.is_stuck
    stub.rule = lambda _: None
    assert (2, 0, 0) == total(ship(bench.sink, rest))


def test_a_refusal_of_every_document_ends_none(bench, stub):
    """As when somebody removed an ingest pipeline that the stream names."""
    ship(bench.sink, bench.lines(0))
    stub.rule = lambda _: (400, "illegal_argument_exception")
    rest = bench.lines(1, 2)
    for _ in range(40):
        receipt = bench.sink.ship(rest)
        rest = receipt.rest

    assert bench.lines(1, 2) == list(rest)
    assert "illegal_argument_exception" in receipt.trouble
    assert max(bench.pauses) == EVERY_PAUSE
    assert not bench.letters.path.exists()
    stub.rule = lambda _: None
    assert (2, 0, 0) == total(ship(bench.sink, rest))
    assert [0, 1, 2] == bench.arrived()


def test_a_document_that_is_refused_alone_is_given_up_once_another_is_taken(
    bench, stub
):
    stub.rule = lambda body: (400, "bad") if b"number 1" in body else None
    receipt = bench.sink.ship(bench.lines(1))
    assert bench.lines(1) == list(receipt.rest)
    assert receipt.is_stuck

    receipt = bench.sink.ship([*receipt.rest, *bench.lines(2)])
    assert (2, 1, []) == (receipt.taken, receipt.dead, list(receipt.rest))


def without_a_pipeline(body):
    """What only one of our two data streams may name."""
    return (400, "illegal_argument_exception") if b"dcmirror.transfer" in body else None


def test_what_another_data_stream_takes_ends_no_line(bench, stub):
    """As when one of them has rolled over to an index whose pipeline is missing."""
    ship(bench.sink, bench.lines(0))
    stub.rule = without_a_pipeline
    rest = bench.lines(*range(1, 301))
    for number in range(40):
        health = bench.place.line(1000 + number, dataset="dcmirror.health")
        receipt = bench.sink.ship([*rest, health])
        rest = receipt.rest
        assert (1, 0) == (receipt.taken, receipt.dead)

    assert receipt.is_stuck
    assert not bench.letters.path.exists()
    stub.rule = lambda _: None
    assert (300, 0, 0) == total(ship(bench.sink, rest))


def test_a_data_stream_that_took_something_is_not_trusted_for_ever(bench, stub):
    """Not because another one has been refused ever since."""
    stub.rule = lambda body: (400, "bad") if b"dcmirror.health" in body else None
    health = bench.place.line(1, dataset="dcmirror.health")
    rest = bench.sink.ship([health, *bench.lines(2)]).rest
    assert [health] == list(rest)
    rest = bench.sink.ship(rest).rest
    stub.rule = lambda _: (400, "bad")
    receipt = bench.sink.ship([*rest, *bench.lines(3)])

    assert (0, 0) == (receipt.taken, receipt.dead)


def test_a_line_that_cannot_be_read_needs_another_of_its_stream(bench, stub):
    stub.refuses = lambda bulk: any(b"number 1" in b for b in bulk.bodies)
    rest = bench.lines(1)
    for number in range(20, 25):
        health = bench.place.line(number, dataset="dcmirror.health")
        rest = bench.sink.ship([*rest, health]).rest
        rest = bench.sink.ship(rest).rest
    assert bench.lines(1) == list(rest)

    assert (2, 0, 1) == total(ship(bench.sink, [*rest, *bench.lines(2)]))


def test_what_the_other_request_took_counts_too(bench, stub):
    """One of two has only lines that are refused."""
    stub.rule = lambda body: (400, "bad") if b"number 1" in body else None
    numbers = [*range(1000, 1300), *range(2000, 2300)]
    receipts = ship(bench.sink, bench.lines(*numbers))

    assert [600, 300] == [receipts[0].taken, receipts[0].dead]


def test_a_servers_error_that_sticks_to_one_request_of_two_ends_its_lines(bench, stub):
    stub.rule = lambda body: (500, "boom") if b"number 1" in body else None
    numbers = [*range(1000, 1300), *range(2000, 2300)]
    rest, dead, fresh = bench.lines(*numbers), 0, 5000
    for _ in range(20):
        receipt = bench.sink.ship(rest)
        dead += receipt.dead
        rest = [*receipt.rest, *bench.lines(*range(fresh, fresh + 300))]
        fresh += 300

    assert 300 == dead


def test_dead_letters_that_cannot_be_written_stop_nothing(bench, stub):
    bench.letters.path.mkdir()
    stub.rule = lambda body: (400, "bad") if b"number 2" in body else None
    receipts = ship(bench.sink, bench.lines(1, 2, 3))

    assert (3, 0, 1) == total(receipts)
    assert "cannot be set aside" in receipts[-1].trouble


def test_dead_letters_are_bounded_and_what_goes_is_counted(bench, stub):
    bench.letters = DeadLetters(bench.letters.path, max_bytes=2000)
    bench.sink = ElasticSink(bench.place.settings, bench.letters)
    stub.rule = lambda body: None if b"number 99" in body else (400, "bad")
    lost = 0
    for number in range(50):
        lost += sum(
            receipt.lost for receipt in ship(bench.sink, bench.lines(number, 99))
        )

    files = sorted(bench.letters.path.parent.glob("dead-letters*"))
    assert ["dead-letters.ndjson", "dead-letters.old.ndjson"] == [f.name for f in files]
    assert all(file.stat().st_size < 3000 for file in files)
    letters = [
        json.loads(line) for f in files[::-1] for line in f.read_text().splitlines()
    ]
    left = [letter["document"]["event"]["duration"] for letter in letters]
    assert list(range(lost, 50)) == left
    assert lost > 0
    bench.sink.close()


def test_letters_that_somebody_took_are_not_lost(bench, stub):
    bench.letters = DeadLetters(bench.letters.path, max_bytes=10)
    why = Refusal(0, 400, "bad", "because")
    for line in bench.lines(1, 2):
        bench.letters.add([(line, why)])
    taken = bench.letters.take()
    for line in bench.lines(3, 4):
        bench.letters.add([(line, why)])

    assert (2, 0) == (len(taken), bench.letters.pop_lost())
    bench.letters.add([(bench.place.line(5), why)])
    assert (1, 0) == (bench.letters.pop_lost(), bench.letters.pop_lost())


def test_a_request_the_server_cannot_read_is_halved_down_to_the_line(bench, stub):
    """No other line is given up with it, and requests grow again afterwards."""

    stub.refuses = lambda bulk: any(b"number 5" in b for b in bulk.bodies)
    receipts = ship(bench.sink, bench.lines(*range(1, 21)))

    assert (20, 0, 1) == total(receipts)
    assert [n for n in range(1, 21) if n != 5] == bench.arrived()
    assert 1 == len(ship(bench.sink, bench.lines(*range(60, 90))))


def test_a_gateway_that_refuses_everything_ends_nothing(bench, stub):
    """Its answer has no error type: Elasticsearch never saw the request."""
    answer = {"error": "The plain HTTP request was sent to HTTPS port"}
    stub.faults.append(Fault(400, answer, takes=False))
    receipt = bench.sink.ship(bench.lines(1, 2))

    assert (0, 2) == (receipt.taken, len(receipt.rest))
    assert receipt.needs_help
    assert not bench.letters.path.exists()
    assert (2, 0, 0) == total(ship(bench.sink, receipt.rest))


def test_a_server_that_can_read_no_request_ends_no_line(bench, stub):
    """As when a proxy spoils each body; and it is not asked without end."""
    ship(bench.sink, bench.lines(0))
    stub.refuses = lambda _: True
    rest = bench.lines(*range(1, 30))
    for _ in range(100):
        receipt = bench.sink.ship(rest)
        rest = receipt.rest

    assert bench.lines(*range(1, 30)) == sorted(rest)
    assert max(bench.pauses) == EVERY_PAUSE
    assert not bench.letters.path.exists()
    stub.refuses = lambda _: False
    assert (29, 0, 0) == total(ship(bench.sink, rest))


def test_a_line_that_cannot_be_read_is_given_up_once_another_is_taken(bench, stub):
    stub.refuses = lambda bulk: any(b"number 1" in b for b in bulk.bodies)
    rest = bench.lines(1)
    for _ in range(5):
        receipt = bench.sink.ship(rest)
        rest = receipt.rest
    assert bench.lines(1) == list(rest)
    assert receipt.is_stuck
    assert "x_content_parse_exception" in receipt.trouble

    assert (2, 0, 1) == total(ship(bench.sink, [*rest, *bench.lines(2)]))
    assert [2] == bench.arrived()


def test_servers_that_do_not_know_our_parameter_are_asked_without(bench, stub):
    stub.knows_require = False

    assert (2, 0, 0) == total(ship(bench.sink, bench.lines(1, 2)))
    assert 1 == len(ship(bench.sink, bench.lines(3)))
    assert "require_data_stream" not in stub.bulks[-1].query


def test_a_missing_template_is_said_while_shipping_goes_on(bench, stub):
    stub.has_template = False
    (receipt,) = ship(bench.sink, bench.lines(1))

    assert 1 == receipt.taken
    assert "dcmirror elastic setup" in receipt.trouble
    assert not receipt.needs_help


def test_a_template_that_was_made_meanwhile_is_seen(bench, stub):
    now = [0.0]
    sink = ElasticSink(bench.place.settings, bench.letters, clock=lambda: now[0])
    stub.has_template = False
    (receipt,) = ship(sink, bench.lines(1))
    assert "dcmirror elastic setup" in receipt.trouble
    stub.has_template = True
    now[0] += 60.0
    (receipt,) = ship(sink, bench.lines(2))

    assert receipt.trouble is None
    sink.close()


def test_after_a_pause_for_a_person_the_template_is_asked_for_again(bench, stub):
    sink = ElasticSink(bench.place.settings, bench.letters, clock=lambda: 0.0)
    stub.has_template = False
    stub.faults.append(Fault(items={"*": (404, "index_not_found_exception")}))
    receipt = sink.ship(bench.lines(1))
    assert receipt.needs_help
    stub.has_template = True

    assert [None] == [receipt.trouble for receipt in ship(sink, receipt.rest)]
    sink.close()


def test_documents_that_the_server_diverted_are_told(bench, stub):
    body = {
        "errors": False,
        "items": [{"create": {"status": 201, "failure_store": "used"}}],
    }
    stub.faults.append(Fault(body=body))
    (receipt,) = ship(bench.sink, bench.lines(1))

    assert 1 == receipt.taken
    assert "failure store" in receipt.trouble


def test_what_is_sent_can_be_compressed(stub, tmp_path):
    bench = Bench(stub, tmp_path, compress=True)

    assert (3, 0, 0) == total(ship(bench.sink, bench.lines(1, 2, 3)))
    bench.sink.close()


def test_a_server_that_comes_back_is_found(bench, stub):
    ship(bench.sink, bench.lines(1))
    stub.stop()
    receipt = bench.sink.ship(bench.lines(2))
    assert bench.lines(2) == list(receipt.rest)
    stub.start()

    assert (1, 0, 0) == total(ship(bench.sink, receipt.rest))
    assert [1, 2] == bench.arrived()


def test_many_lines_go_in_two_requests_and_each_has_its_own_fate(bench, stub):
    stub.faults.append(error(503, "unavailable"))
    lines = bench.lines(*range(1000))
    receipt = bench.sink.ship(lines)

    assert [500, 500] == [len(bulk.ids) for bulk in stub.bulks]
    assert (500, 500) == (receipt.taken, len(receipt.rest))
    assert list(receipt.rest) in (lines[:500], lines[500:])
    assert "unavailable" in receipt.trouble
    assert receipt.pause > 0
    assert (500, 0, 0) == total(ship(bench.sink, receipt.rest))
    assert list(range(1000)) == bench.arrived()


def test_what_needs_a_person_is_told_first(bench, stub):
    stub.faults.append(error(503, "unavailable"))
    stub.faults.append(error(403, "security_exception"))
    receipt = bench.sink.ship(bench.lines(*range(1000)))

    assert 1000 == len(receipt.rest)
    assert receipt.needs_help
    assert "security_exception" in receipt.trouble
