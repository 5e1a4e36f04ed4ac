"""The logger as a process, shipping to Elasticsearch: each line once, whatever dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.shipping import Place, compact
from dcmirror.adapters import checkpoints, shipping_report
from dcmirror.adapters.journal import Journal
from dcmirror.core.bulk import document_id
from dcmirror.processes.logger import LoggerBoot, logger_main
from dcmirror.settings import DCache, Elasticsearch, Kafka, Local, Settings
from elastic_place import install_templates, real_place, settings_of
from helpers import wait_until
from servers.elastic_stub import ElasticStub, Fault, error

SETTINGS = Settings(
    kafka=Kafka(topic="t", servers=("a:1",), consumergroup="g"),
    dcache=DCache(url="https://d/", pool="/", folder="/f"),
    local=Local(downloadfolder=Path("/m")),
)


class Site:
    """A state directory, its journals, and loggers that ship them."""

    def __init__(self, path: Path, place: Place) -> None:
        self.place = place
        self.directory = path / "journal"
        self.checkpoint = path / "checkpoint.json"
        self.export = path / "export.ndjson"
        self._context = multiprocessing.get_context("spawn")
        self._loggers = []

    def journal(self, segment_bytes=16384, **options) -> Journal:
        return Journal(self.directory, 1 << 26, segment_bytes, min_free=0, **options)

    def write(self, journal: Journal, numbers) -> None:
        journal.append([compact(self.place.event(n)).decode() for n in numbers])

    def start(self, *, export=False, ships=True):
        elastic = self.place.settings if ships else Elasticsearch()
        boot = LoggerBoot(
            replace(SETTINGS, elasticsearch=elastic),
            self.directory,
            self.checkpoint,
            self.export if export else None,
            "logger",
        )
        process = self._context.Process(target=logger_main, args=(boot,))
        process.start()
        self._loggers.append(process)
        return process

    def stop(self, process) -> int | None:
        os.kill(process.pid, signal.SIGTERM)
        process.join(20)
        return process.exitcode

    def report(self):
        return shipping_report.read(shipping_report.path_beside(self.checkpoint))

    def is_reported(self, **wanted):
        """A report of now that says this; with its figures."""

        def found():
            report = self.report()
            if report and all(getattr(report, k) == v for k, v in wanted.items()):
                return report
            return None

        return lambda: found()

    def shipped(self) -> int:
        return checkpoints.load(self.checkpoint).shipped

    def is_caught_up(self):
        report = self.report()
        return report and (report.state, report.behind_bytes) == ("idle", 0)

    def exported(self) -> list[int]:
        """All whole lines: the last one may be in the middle of being written."""
        lines = self.export.read_bytes().rpartition(b"\n")[0].splitlines()
        return [json.loads(line)["event"]["duration"] for line in lines]

    def ids(self, journal: Journal) -> list[bytes]:
        """What every line of a journal must be called, by the rule and by hand."""
        return [
            document_id(segment.name, number)
            for segment in sorted(self.directory.glob(f"{journal.writer}-0*"))
            for number, _ in enumerate(segment.read_bytes().splitlines(), 1)
        ]

    def close(self) -> None:
        for process in self._loggers:
            process.kill()
            process.join(10)
            process.close()


@pytest.fixture
def stub():
    with ElasticStub() as stub:
        yield stub


@pytest.fixture
def site(stub, tmp_path):
    def documents():
        with stub.lock:
            return {k: json.loads(v) for k, v in stub.documents.items()}

    settings = Elasticsearch(urls=(stub.url,), timeout=5.0)
    made = Site(tmp_path, Place(settings, "default", documents, dict))
    yield made
    made.close()


def test_the_journal_arrives_and_the_report_says_so(site, stub):
    journal = site.journal()
    site.write(journal, range(500))
    logger = site.start()
    wait_until(lambda: len(stub.documents) == 500)
    site.write(journal, range(500, 700))
    wait_until(lambda: len(stub.documents) == 700)
    report = wait_until(site.is_reported(state="idle", shipped=700))

    assert list(range(700)) == site.place.numbers()
    assert sorted(site.ids(journal)) == sorted(k.encode() for k in stub.documents)
    assert ("elasticsearch", None, 0, None) == (
        report.sink,
        report.reason,
        report.behind_bytes,
        report.oldest_age_s,
    )
    assert (logger.pid, "logger", 0, 0) == (
        report.pid,
        report.name,
        report.duplicates,
        report.dead_letters,
    )
    assert 0 == site.stop(logger)
    journal.close()


def test_it_starts_without_a_server_and_catches_up(site, stub):
    stub.stop()
    journal = site.journal()
    site.write(journal, range(300))
    logger = site.start()
    report = wait_until(site.is_reported(state="retrying"))

    assert report.behind_bytes == journal.size()
    assert report.oldest_age_s > 0
    assert "Connection refused" in report.reason
    stub.start()
    wait_until(lambda: len(stub.documents) == 300)
    wait_until(site.is_reported(state="idle", reason=None, shipped=300))
    assert 0 == site.stop(logger)
    journal.close()


def test_a_paused_shipper_says_why_and_goes_on_with_the_next_key(site, stub, tmp_path):
    key = tmp_path / "key"
    key.write_text("b2xk")
    site.place.settings = replace(site.place.settings, api_key_file=key)
    stub.key = "ApiKey bmV3"
    journal = site.journal()
    site.write(journal, range(10))
    logger = site.start()
    report = wait_until(site.is_reported(state="paused"))

    assert "security_exception" in report.reason
    key.write_text("bmV3")
    wait_until(lambda: len(stub.documents) == 10, 10)
    wait_until(site.is_reported(state="idle", reason=None))
    assert 0 == site.stop(logger)
    journal.close()


def test_term_does_not_wait_for_a_server_that_hangs(site, stub):
    site.place.settings = replace(site.place.settings, timeout=60.0)
    journal = site.journal()
    site.write(journal, range(10))
    stub.faults.append(Fault(delay=30.0))
    logger = site.start()
    wait_until(lambda: stub.bulks)
    begun = time.monotonic()

    assert 0 == site.stop(logger)
    assert time.monotonic() - begun < 6
    journal.close()


def test_a_hanging_server_does_not_silence_the_report(site, stub):
    site.place.settings = replace(site.place.settings, timeout=60.0)
    journal = site.journal()
    site.write(journal, range(10))
    stub.faults.append(Fault(delay=10.0))
    logger = site.start()
    wait_until(lambda: stub.bulks)
    seen = wait_until(site.report)
    site.write(journal, range(10, 20))
    wait_until(lambda: site.report().at > seen.at + 1, 8)

    assert 0 == len(stub.documents)
    wait_until(lambda: len(stub.documents) == 20)
    assert 0 == site.stop(logger)
    journal.close()


def test_a_line_that_the_server_chokes_on_keeps_back_no_other(site, stub):
    stub.rule = lambda body: (500, "boom") if b'"number 0"' in body else None
    journal = site.journal()
    site.write(journal, [0])
    logger = site.start()
    wait_until(lambda: len(stub.bulks) > 1)
    site.write(journal, range(1, 100))
    wait_until(lambda: len(stub.documents) == 99)

    # it waits still, and so does the checkpoint
    assert {} == checkpoints.load(site.checkpoint).writers
    stub.rule = lambda _: None
    wait_until(lambda: len(stub.documents) == 100)
    wait_until(site.is_reported(state="idle", shipped=100))
    assert 0 == site.stop(logger)
    journal.close()


def test_bad_lines_are_counted_and_set_aside(site, stub):
    stub.rule = lambda body: (400, "bad") if b'"number 3"' in body else None
    journal = site.journal()
    site.write(journal, range(5))
    (segment,) = site.directory.glob(f"{journal.writer}-0*")
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b'"number 1"', b'"number 7"'))
    logger = site.start()
    wait_until(site.is_reported(state="idle", dead_letters=1, spoiled=1, shipped=3))

    assert [0, 2, 4] == site.place.numbers()
    assert 0 == site.stop(logger)
    letters = site.checkpoint.with_name("dead-letters.ndjson").read_text()
    assert [3] == [
        json.loads(line)["document"]["event"]["duration"]
        for line in letters.splitlines()
    ]
    journal.close()


def test_a_killed_logger_resends_and_doubles_nothing(site, stub):
    """kill -9 at random points, a file export beside; both must be right."""
    rng = random.Random(time.time_ns())
    journal, other = site.journal(), site.journal()
    stub.rule = lambda _: (429, "full") if rng.random() < 0.02 else None
    written = 0
    for _ in range(6):
        logger = site.start(export=True)
        goal = len(stub.documents) + rng.randrange(1, 400)
        for _ in range(40):
            site.write(rng.choice([journal, other]), range(written, written + 25))
            written += 25
        if rng.random() < 0.3:
            stub.faults.append(Fault(cuts=20))
        if rng.random() < 0.3:
            stub.faults.append(error(503, "unavailable"))
        wait_until(lambda goal=goal: len(stub.documents) >= goal)
        logger.kill()
        logger.join(10)
    last = site.start(export=True)
    wait_until(site.is_caught_up)

    assert 0 == site.stop(last)
    ids = [*site.ids(journal), *site.ids(other)]
    assert written == len(ids)
    assert sorted(ids) == sorted(k.encode() for k in stub.documents)
    assert list(range(written)) == site.place.numbers()
    assert list(range(written)) == sorted(site.exported())
    journal.close()
    other.close()


def test_a_file_export_goes_on_while_the_server_is_away(site, stub):
    stub.stop()
    journal = site.journal(segment_bytes=2048)
    site.write(journal, range(100))
    logger = site.start(export=True)
    wait_until(lambda: site.export.is_file() and len(site.exported()) == 100)
    wait_until(lambda: "file" in checkpoints.load_all(site.checkpoint))

    # what one of them has not got is not shipped
    assert {} == checkpoints.load(site.checkpoint).writers
    stub.start()
    wait_until(lambda: len(stub.documents) == 100)
    wait_until(site.is_caught_up)
    assert 0 == site.stop(logger)
    assert list(range(100)) == site.exported()
    (position,) = checkpoints.load(site.checkpoint).writers.values()
    assert position.line > 0
    journal.close()


def test_who_begins_to_ship_later_gets_the_whole_journal(site, stub):
    journal = site.journal()
    site.write(journal, range(50))
    before = site.start(ships=False)
    wait_until(lambda: site.shipped() == 50)
    assert 0 == site.stop(before)
    logger = site.start()
    wait_until(lambda: len(stub.documents) == 50)

    assert 0 == site.stop(logger)
    journal.close()


def test_a_torn_tail_is_not_behind(site, stub):
    journal = site.journal()
    site.write(journal, range(5))
    journal.close()
    (segment,) = site.directory.glob(f"{journal.writer}-0*")
    with open(segment, "ab") as file:
        file.write(b'{"torn":')
    logger = site.start()
    wait_until(site.is_reported(state="idle", shipped=5))

    assert 0 == wait_until(site.report).behind_bytes
    assert 0 == site.stop(logger)


def test_memory_is_bounded_however_far_it_is_behind(site, stub):
    journal = site.journal(segment_bytes=1 << 20)
    pad = "p" * 900
    for n in range(0, 40_000, 500):
        journal.append(
            [
                compact(site.place.event(k, padding=pad)).decode()
                for k in range(n, n + 500)
            ]
        )
    stub.keeps = False
    logger = site.start()
    wait_until(lambda: site.shipped() >= 2000)
    early = peak_kib(logger.pid)
    wait_until(lambda: site.shipped() == 40_000, 60)

    assert peak_kib(logger.pid) < early + 8 * 1024
    assert 0 == site.stop(logger)
    journal.close()


def peak_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(s for s in status if s.startswith("VmHWM")).split()[1])


@pytest.mark.timeout(400)
def test_a_real_server_killed_under_load_has_every_line_once(
    private_elasticsearch, tmp_path
):
    server = private_elasticsearch()
    install_templates(server)
    settings = settings_of(server, timeout=20.0)
    site = Site(tmp_path, real_place(server, settings))
    journal = site.journal(segment_bytes=1 << 20)
    logger = site.start()
    written = 0
    for _ in range(2):
        goal = site.shipped()
        for n in range(written, written + 6000, 200):
            site.write(journal, range(n, n + 200))
        written += 6000
        wait_until(lambda goal=goal: site.shipped() > goal, 60)
        server.kill9()
        site.write(journal, range(written, written + 2000))
        written += 2000
        server.start()
        logger.kill()
        logger.join(10)
        logger = site.start()
    wait_until(site.is_caught_up, 90)

    assert 0 == site.stop(logger)
    assert list(range(written)) == site.place.numbers()
    assert sorted(site.ids(journal)) == sorted(
        name.encode() for name in site.place.documents()
    )
    journal.close()
    site.close()
