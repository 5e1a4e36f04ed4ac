"""What the shipper relies on in Elasticsearch; holds for the stub and for a real one.

Not collected by itself: a test module subclasses ``ShippingContract`` and gives it a
``place`` fixture.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from dcmirror.adapters.dead_letters import DeadLetters
from dcmirror.adapters.elastic_sink import ElasticSink
from dcmirror.adapters.sinks import Receipt, ShippedLine
from dcmirror.settings import Elasticsearch

SEGMENT = "20260102T030405Z-0123456789abcdef-00000001.ndjson"


@dataclass
class Place:
    """One server with our template, and a namespace that is empty.

    Args:
        documents: all documents of the namespace by id.
        refuses: make the server refuse documents with this text, as unparsable.
        most_bytes: of a request; None where the server's limit is too big to meet.
    """

    settings: Elasticsearch
    namespace: str
    documents: Callable[[], dict[str, dict]]
    unparsable: Callable[[dict], dict]
    most_bytes: int | None = None
    opened: list[ElasticSink] = field(default_factory=list)

    def sink(self, letters: DeadLetters) -> ElasticSink:
        self.opened.append(
            ElasticSink(self.settings, letters, jitter=lambda low, _high: low)
        )
        return self.opened[-1]

    def line(self, number: int, *, segment: str = SEGMENT, **members) -> ShippedLine:
        return ShippedLine(segment, number, compact(self.event(number, **members)))

    def event(self, number: int, *, dataset: str = "dcmirror.transfer", **members):
        stream = {"type": "logs", "dataset": dataset, "namespace": self.namespace}
        return {
            "@timestamp": "2026-01-02T03:04:05.678Z",
            "data_stream": stream,
            "message": f"number {number}",
            "event": {"action": "transfer-finished", "duration": number},
            **members,
        }

    def bad(self, number: int) -> ShippedLine:
        return self.line(number)._replace(
            body=compact(self.unparsable(self.event(number)))
        )

    def numbers(self) -> list[int]:
        """What arrived, by the number in it."""
        return sorted(d["event"]["duration"] for d in self.documents().values())

    def close(self) -> None:
        for sink in self.opened:
            sink.close()


def compact(event: dict) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def ship(sink: ElasticSink, lines: list[ShippedLine]) -> list[Receipt]:
    """Give the rest again until there is none, as a route does."""
    receipts = [sink.ship(lines)]
    while receipts[-1].rest:
        assert len(receipts) < 100, receipts[-1]
        receipts.append(sink.ship(receipts[-1].rest))
    return receipts


def total(receipts: list[Receipt]) -> tuple[int, int, int]:
    return (
        sum(receipt.taken for receipt in receipts),
        sum(receipt.duplicates for receipt in receipts),
        sum(receipt.dead for receipt in receipts),
    )


class ShippingContract:
    """Each test gets a ``place`` from the subclass."""

    @pytest.fixture
    def letters(self, tmp_path) -> DeadLetters:
        return DeadLetters(tmp_path / "dead-letters.ndjson")

    @pytest.fixture
    def sink(self, place, letters):
        yield place.sink(letters)
        place.close()

    def test_lines_become_documents(self, place, sink):
        receipts = ship(sink, [place.line(n) for n in range(1, 51)])

        assert (1, (50, 0, 0)) == (len(receipts), total(receipts))
        assert list(range(1, 51)) == place.numbers()

    def test_documents_are_the_lines(self, place, sink):
        line = place.line(7, message='grüße "quoted" \\ \u2028')
        ship(sink, [line])

        assert [json.loads(line.body)] == list(place.documents().values())

    def test_a_line_that_is_sent_again_is_taken_and_not_doubled(self, place, sink):
        lines = [place.line(n) for n in range(1, 4)]
        ship(sink, lines)
        receipts = ship(sink, [*lines, place.line(4)])

        assert (4, 3, 0) == total(receipts)
        assert [1, 2, 3, 4] == place.numbers()

    def test_the_same_event_on_another_line_is_another_document(self, place, sink):
        ship(sink, [place.line(1)])
        twin = place.line(1)._replace(number=2)
        other = place.line(1, segment=SEGMENT.replace("1.nd", "2.nd"))

        assert (2, 0, 0) == total(ship(sink, [twin, other]))
        assert [1, 1, 1] == place.numbers()

    def test_each_dataset_has_a_stream_of_its_own(self, place, sink):
        receipts = ship(sink, [place.line(1), place.line(2, dataset="dcmirror.health")])

        assert (2, 0, 0) == total(receipts)
        assert [1, 2] == place.numbers()

    def test_a_bad_document_is_set_aside_and_the_others_arrive(
        self, place, sink, letters
    ):
        lines = [place.line(1), place.bad(2), place.line(3)]
        receipts = ship(sink, lines)

        assert (3, 0, 1) == total(receipts)
        assert [1, 3] == place.numbers()
        (letter,) = map(json.loads, letters.path.read_text().splitlines())
        assert (SEGMENT, 2, 400) == (
            letter["segment"],
            letter["line"],
            letter["status"],
        )
        assert json.loads(lines[1].body) == letter["document"]
        assert letter["type"]
        assert letter["reason"]

    def test_a_line_without_a_stream_is_set_aside(self, place, sink, letters):
        receipts = ship(sink, [ShippedLine(SEGMENT, 1, b'{"n":1}'), place.line(2)])

        assert (2, 0, 1) == total(receipts)
        assert [2] == place.numbers()
        assert "no_data_stream" in letters.path.read_text()

    def test_a_batch_that_is_too_big_is_halved(self, place, sink, letters):
        if place.most_bytes is None:
            pytest.skip("the limit of this server is too big to meet")
        each = place.most_bytes // 5
        lines = [place.line(n, padding="p" * each) for n in range(1, 13)]
        receipts = ship(sink, lines)

        assert (12, 0, 0) == total(receipts)
        assert list(range(1, 13)) == place.numbers()
        # it learned: the next batch is not refused again
        more = [place.line(n, padding="p" * each) for n in range(13, 25)]
        assert all(receipt.taken for receipt in ship(sink, more))

    def test_a_document_that_is_too_big_is_shortened(self, place, sink, letters):
        if place.most_bytes is None:
            pytest.skip("the limit of this server is too big to meet")
        long = place.line(2, error={"message": "e" * place.most_bytes})
        receipts = ship(sink, [place.line(1), long, place.line(3)])

        assert (3, 0, 0) == total(receipts)
        assert [1, 2, 3] == place.numbers()
        assert not letters.path.exists()

    def test_what_cannot_be_shortened_is_set_aside(self, place, sink, letters):
        if place.most_bytes is None:
            pytest.skip("the limit of this server is too big to meet")
        long = place.line(2, padding="p" * place.most_bytes)
        receipts = ship(sink, [place.line(1), long, place.line(3)])

        assert (3, 0, 1) == total(receipts)
        assert [1, 3] == place.numbers()
        assert 413 == json.loads(letters.path.read_text())["status"]
