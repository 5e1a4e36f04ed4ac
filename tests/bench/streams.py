"""How fast events are judged, and how long one takes to become a file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pycurl

from bench.engine_run import Order, settings_of
from bench.measuring import MIB, cpu_seconds, median
from bench.sources import FileSet, Source, write
from dcmirror.adapters.state_directory import prepare
from dcmirror.core.ledger import Ledgers
from dcmirror.core.records import Assigned, Batch, Record
from dcmirror.processes.assembly import assemble, planner_of
from dcmirror.processes.reception import Reception
from dcmirror.settings import Settings
from helpers import make_event, wait_until
from servers.kafka import Kafka, start_local

DATA = Path(__file__).resolve().parents[1] / "data"
RECORDED = DATA / "dcache-11.2.5-events.ndjson"

_OURS_EVERY = 20
_POLL = 500
_PAUSE = 0.0002

CONFIG = """\
[kafka]
topic = "{topic}"
servers = ["{bootstrap}"]
consumergroup = "bench"

[dcache]
url = "{url}"
pool = "/"
folder = "{folder}"

[local]
proxy = "{credential}"
capath = "{capath}"
downloadfolder = "{destination}"

[source]
missing_digest = "accept"

[state]
directory = "{state}"

[log]
file = "{state}/dcmirror.log"
"""


# Filter


def filter_rate(count: int) -> str:
    """Events judged, entered in the ledger and settled, on one core."""
    with tempfile.TemporaryDirectory(prefix="dcmirror-bench-") as name:
        settings = _settings(Path(name))
        events = list(_events(count))
        decided = _decide(settings, events)
        received = _receive(settings, events)
    return (
        f"filter, {count} events of {sum(map(len, events)) // count} B, "
        f"{100 // _OURS_EVERY} % ours: {count / decided:.0f}/s decided, "
        f"{count / received:.0f}/s with ledger, jobs and books"
    )


def _settings(directory: Path) -> Settings:
    order = Order(
        url="https://localhost:1",
        name="bench",
        count=1,
        size=1,
        parallel=10,
        credential="/nowhere",
        capath="/nowhere",
        destination=str(directory / "mirror"),
        state=str(directory / "state"),
        sync="group",
    )
    return settings_of(order)


def _events(count: int) -> Iterator[bytes]:
    """Recorded events of other folders, one upload of ours after every nineteen."""
    recorded = [line for line in RECORDED.read_bytes().splitlines() if line.strip()]
    for number in range(count):
        if number % _OURS_EVERY:
            yield recorded[number % len(recorded)]
        else:
            path = f"/bench/run/file-{number:07d}"
            yield make_event(billingPath=path, transferPath=path)


def _decide(settings: Settings, events: list[bytes]) -> float:
    decide = planner_of(settings).decide
    began = time.process_time()
    for event in events:
        decide(event)
    return time.process_time() - began


def _receive(settings: Settings, events: list[bytes]) -> float:
    assert settings.state.directory
    settings = replace(
        settings, pipeline=replace(settings.pipeline, max_jobs=len(events))
    )
    state = prepare(settings.state.directory)
    ledgers = Ledgers(settings.kafka.topic)
    room = assemble(
        settings,
        state,
        "bench",
        instance=None,
        downloads=10,
        verbosity=0,
        ledgers=ledgers,
        failed_csv=None,
    )
    reception = Reception(
        room.engine,
        planner_of(settings),
        room.catalogue,
        ledgers,
        task_space=uuid.uuid4(),
        net_seconds=30.0,
        requests_without_mover="auto",
    )
    reception.take_notice(Assigned(0, 1, None, 0))
    batches = list(_batches(events))
    began = time.process_time()
    for batch in batches:
        reception.take_batch(batch, time.monotonic(), time.time())
        room.engine.settler.flush()
    return time.process_time() - began


def _batches(events: list[bytes]) -> Iterator[Batch]:
    for start in range(0, len(events), _POLL):
        yield Batch(
            tuple(
                Record(0, start + number, 1, value)
                for number, value in enumerate(events[start : start + _POLL])
            )
        )


# Latency


def latency(source: Source, work: Path, count: int) -> str:
    """From an event's way to the broker to the final name, and a bare GET beside it."""
    files = FileSet("latency", count + 1, MIB)
    write(files, work / "data")
    broker = start_local(work / "kafka")
    try:
        topic = broker.create_topic()
        with _watching(source, files, broker, topic, work) as (mirror, pid):
            named = _time_events(files, broker, topic, mirror)
            rate = _drain_rate(broker, topic, pid)
        bare = _time_gets(source, files, work)
    finally:
        broker.close()
    return (
        f"event to final name, {count} files of 1 MiB, one after the other: "
        f"median {named * 1000:.1f} ms; a bare GET on a kept connection: "
        f"{bare * 1000:.1f} ms; difference {(named - bare) * 1000:.1f} ms\n"
        f"watch on real Kafka, records that are not ours: {rate:.0f}/s per core"
    )


@contextmanager
def _watching(
    source: Source, files: FileSet, broker: Kafka, topic: str, work: Path
) -> Iterator[tuple[Path, int]]:
    mirror = work / "latency-mirror"
    mirror.mkdir()
    with tempfile.TemporaryDirectory(prefix="state-", dir="/var/tmp") as state:
        config = work / "latency.toml"
        config.write_text(
            CONFIG.format(
                topic=topic,
                bootstrap=broker.bootstrap,
                url=source.url,
                folder=files.folder,
                credential=source.credential,
                capath=source.capath,
                destination=mirror,
                state=state,
            )
        )
        command = [sys.executable, "-m", "dcmirror", "watch", "--config", str(config)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            yield mirror, process.pid
        finally:
            process.terminate()
            process.wait()


def _time_events(files: FileSet, broker: Kafka, topic: str, mirror: Path) -> float:
    taken = []
    for number, relative in enumerate(files.relatives()):
        path = f"{files.folder}/{relative}"
        event = make_event(billingPath=path, transferPath=path, fileSize=files.size)
        final = mirror / relative
        began = time.monotonic()
        broker.produce(topic, [event])
        deadline = began + 60
        while not final.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{final} did not come in 60 s")
            time.sleep(_PAUSE)
        if number:  # the first one waits for the group to form
            taken.append(time.monotonic() - began)
    return median(taken)


def _drain_rate(broker: Kafka, topic: str, pid: int) -> float:
    """Records per CPU second of the supervisor, decoding by kafka-python included."""
    recorded = [line for line in RECORDED.read_bytes().splitlines() if line.strip()]
    values = (recorded * (50_000 // len(recorded) + 1))[:50_000]
    before = cpu_seconds([pid])
    broker.produce(topic, values, partition=0)
    end = broker.end_offsets(topic)
    wait_until(lambda: broker.committed("bench", topic) == end, 120)
    return len(values) / (cpu_seconds([pid]) - before)


def _time_gets(source: Source, files: FileSet, work: Path) -> float:
    taken = []
    handle = pycurl.Curl()
    handle.setopt(pycurl.CAPATH, str(source.capath))
    handle.unsetopt(pycurl.CAINFO)
    handle.setopt(pycurl.SSLCERT, str(source.credential))
    handle.setopt(pycurl.SSLKEY, str(source.credential))
    for number, relative in enumerate(files.relatives()):
        handle.setopt(pycurl.URL, f"{source.url}{files.folder}/{relative}")
        began = time.monotonic()
        with (work / f"bare-{number}").open("wb") as stream:
            handle.setopt(pycurl.WRITEDATA, stream)
            handle.perform()
        if number:
            taken.append(time.monotonic() - began)
    handle.close()
    return median(taken)
