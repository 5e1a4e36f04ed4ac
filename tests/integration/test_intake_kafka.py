"""The intake thread against a real Apache Kafka broker."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmirror.core.records import (
    Acknowledged,
    Assigned,
    Closed,
    Connected,
    Fatal,
    IntakeTrouble,
    Notice,
    OffsetsLost,
    Record,
    Revoked,
)
from dcmirror.processes.intake import Intake
from dcmirror.settings import DCache, Kafka, Local, Settings
from helpers import wait_until

pytestmark = [
    pytest.mark.real_kafka,
    pytest.mark.timeout(240),
    # kafka-python leaves a socket behind at each refused connection
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

QUICK = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500}


def settings_for(
    bootstrap: str, topic: str, group: str, start: str = "earliest", **client
) -> Settings:
    return Settings(
        kafka=Kafka(
            topic=topic,
            servers=(bootstrap,),
            consumergroup=group,
            start=start,
            client={**QUICK, "metadata_max_age_ms": 1000, **client},
        ),
        dcache=DCache(url="https://door.example.org/", pool="/", folder="/x"),
        local=Local(downloadfolder=Path("/nowhere")),
    )


class Loop:
    """What the supervisor's loop does with an intake, and a memory of it."""

    def __init__(self, settings: Settings, first_epoch: int = 1) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.intake = Intake(
            settings, f"test-{uuid.uuid4().hex[:6]}", self.fd, first_epoch=first_epoch
        )
        self.notices: list[Notice] = []
        self.records: list[Record] = []
        self.gaps: list[tuple[OffsetsLost, int]] = []
        self.seen_at: dict[tuple[int, int], float] = {}
        self.settles = True

    def start(self) -> Loop:
        self.intake.start()
        return self

    def turn(self) -> Loop:
        while True:
            notices, batch = self.intake.take()
            self.notices += notices
            for notice in notices:
                if isinstance(notice, Assigned):
                    self._note(notice.partition, notice.epoch, notice.start)
                elif isinstance(notice, OffsetsLost):
                    self.gaps.append((notice, len(self.records)))
            if batch is None:
                return self
            now = time.monotonic()
            for record in batch.records:
                self.records.append(record)
                self.seen_at[record.partition, record.offset] = now
                self._note(record.partition, record.epoch, record.offset + 1)

    def _note(self, partition: int, epoch: int, offset: int) -> None:
        if self.settles:
            entries = {**self.intake.committables, (partition, epoch): offset}
            self.intake.committables = entries
            self.intake.request_commit()

    def told(self, kind: type) -> list:
        self.turn()
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def values(self) -> list[bytes | None]:
        self.turn()
        return [record.value for record in self.records]

    def wait_for(self, count: int, deadline: float = 40.0) -> None:
        wait_until(
            lambda: len(self.values()) >= count,
            deadline,
            what=f"{count} records (got {len(self.records)}; {self.notices[-5:]})",
        )

    def assigned(self) -> set[int]:
        self.turn()
        ours: set[int] = set()
        for notice in self.notices:
            if isinstance(notice, Assigned):
                ours.add(notice.partition)
            elif isinstance(notice, Revoked):
                ours -= set(notice.partitions)
        return ours

    def close(self) -> None:
        if self.intake.is_alive():
            self.intake.stop(final=True)
            self.intake.join(25)
        assert not self.intake.is_alive()
        self.turn()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@pytest.fixture
def loops() -> Iterator:
    started: list[Loop] = []

    def start(settings: Settings, **options) -> Loop:
        started.append(Loop(settings, **options))
        return started[-1].start()

    yield start
    for loop in started:
        loop.close()
    gc.collect()


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


def secured(broker, **client) -> Settings:
    """Settings for the broker's TLS listener, or the SASL one with a mechanism."""
    is_sasl = "sasl_mechanism" in client
    return settings_for(
        broker.sasl_bootstrap if is_sasl else broker.tls_bootstrap,
        "billing",
        "group-secured",
        security_protocol="SASL_SSL" if is_sasl else "SSL",
        bootstrap_timeout_ms=4000,
        **client,
    )


def values(count: int, first: int = 0) -> list[bytes]:
    return [b"value-%d" % number for number in range(first, first + count)]


def test_records_arrive_in_order_with_the_epoch_of_their_assignment(
    kafka, loops, group
):
    topic = kafka.create_topic(partitions=3)
    sent = kafka.produce(topic, values(3000))
    loop = loops(settings_for(kafka.bootstrap, topic, group), first_epoch=41)

    loop.wait_for(3000)

    epochs = {n.partition: n.epoch for n in loop.told(Assigned)}
    assert sorted((r.partition, r.offset) for r in loop.records) == sorted(sent)
    assert sorted(epochs.values()) == [41, 42, 43]
    assert {(r.partition, r.epoch) for r in loop.records} == set(epochs.items())
    for partition in range(3):
        offsets = [r.offset for r in loop.records if r.partition == partition]
        assert offsets == sorted(offsets)
    assert len(loop.told(Connected)) == 1
    assert loop.told(Connected)[0].cluster_id


def test_what_was_committed_is_not_read_again(kafka, loops, group):
    topic = kafka.create_topic()
    kafka.produce(topic, values(10))
    first = loops(settings_for(kafka.bootstrap, topic, group))
    first.wait_for(10)
    first.close()
    kafka.produce(topic, values(5, 10))

    second = loops(settings_for(kafka.bootstrap, topic, group))
    second.wait_for(5)

    assert kafka.committed(group)[0] >= 10
    assert second.values() == values(5, 10)
    assert second.told(Assigned) == [Assigned(0, 1, 10, 10)]
    assert first.told(Closed) == [Closed(committed=True)]


def test_joining_and_leaving_members_share_the_partitions_and_lose_nothing(
    kafka, loops, group
):
    topic = kafka.create_topic(partitions=4)
    settings = settings_for(kafka.bootstrap, topic, group)
    first = loops(settings)
    wait_until(lambda: len(first.assigned()) == 4, 30)
    kept = {n.partition: n.epoch for n in first.told(Assigned)}
    kafka.produce(topic, values(400))
    first.wait_for(400)

    second = loops(settings)
    wait_until(
        lambda: (
            len(first.assigned()) == len(second.assigned()) == 2
            and first.assigned() | second.assigned() == {0, 1, 2, 3}
        ),
        40,
    )
    kafka.produce(topic, values(400, 400))
    wait_until(lambda: len(first.values()) + len(second.values()) >= 800, 40)
    assert [n.lost for n in first.told(Revoked)] == [False]
    assert {(r.partition, r.epoch) for r in first.records} == set(kept.items())
    second.close()
    wait_until(lambda: len(first.assigned()) == 4, 40)
    kafka.produce(topic, values(400, 800))
    wait_until(lambda: len(first.values()) + len(second.values()) >= 1200, 40)

    seen = [(r.partition, r.offset) for r in first.records + second.records]
    assert len(seen) == len(set(seen)) == 1200


def test_what_was_settled_before_a_revoke_is_committed_with_it(kafka, loops, group):
    topic = kafka.create_topic(partitions=2)
    settings = settings_for(kafka.bootstrap, topic, group)
    first = loops(settings)
    wait_until(lambda: len(first.assigned()) == 2, 30)
    kafka.produce(topic, values(50), partition=0)
    kafka.produce(topic, values(50), partition=1)
    first.wait_for(100)

    second = loops(settings)
    wait_until(lambda: len(second.assigned()) == 1, 40)

    assert {n.committed for n in second.told(Assigned)} == {50}
    (moved,) = second.assigned()
    acknowledged = {
        p: o for n in first.told(Acknowledged) for p, o in n.offsets.items()
    }
    assert acknowledged[moved] == 50


@pytest.mark.slow
def test_broker_that_was_killed_and_comes_back_loses_nothing(
    private_kafka, loops, group
):
    broker = private_kafka()
    topic = broker.create_topic()
    loop = loops(settings_for(broker.bootstrap, topic, group))
    broker.produce(topic, values(20))
    loop.wait_for(20)

    broker.kill()
    wait_until(lambda: loop.told(IntakeTrouble), 40)
    broker.start()
    broker.produce(topic, values(20, 20))
    loop.wait_for(40, 60)

    assert loop.values() == values(40)
    wait_until(lambda: loop.told(IntakeTrouble)[-1].text == "", 40)
    assert loop.told(IntakeTrouble)[0].text
    assert loop.told(Fatal) == []
    wait_until(lambda: broker.committed(group) == {0: 40}, 30)


@pytest.mark.slow
def test_broker_that_is_down_at_the_start_is_waited_for(private_kafka, loops, group):
    broker = private_kafka()
    topic = broker.create_topic()
    broker.produce(topic, values(3))
    broker.kill()
    loop = loops(settings_for(broker.bootstrap, topic, group))
    wait_until(lambda: loop.told(IntakeTrouble), 20)
    assert "Connection refused" in loop.notices[0].text

    broker.start()
    loop.wait_for(3, 60)

    assert loop.told(IntakeTrouble)[-1].text == ""


@pytest.mark.slow
def test_frozen_broker_blocks_neither_the_owner_nor_the_end_of_the_process(
    private_kafka, loops, group
):
    broker = private_kafka()
    topic = broker.create_topic()
    loop = loops(settings_for(broker.bootstrap, topic, group))
    wait_until(loop.assigned, 30)
    broker.produce(topic, values(3))
    loop.settles = False
    loop.wait_for(3)
    daemon = start_process(broker.bootstrap, topic)
    broker.freeze()
    loop.intake.committables = {(0, 1): 3}
    began = time.monotonic()

    loop.intake.stop(final=True)
    told_within = time.monotonic() - began
    loop.intake.join(30)
    daemon.communicate(b"leave\n", timeout=10)

    assert told_within < 2
    assert loop.told(Closed) == [Closed(committed=False)]
    assert daemon.returncode == 0


LEAVES_WITHOUT_CLOSING = """
import os, sys
sys.path.insert(0, sys.argv[3])
from test_intake_kafka import Loop, settings_for, wait_until
loop = Loop(settings_for(sys.argv[1], sys.argv[2], "group-leaves")).start()
wait_until(lambda: loop.notices or loop.turn().notices, 30)
print("ready", flush=True)
sys.stdin.readline()
loop.intake.stop(final=True)
loop.intake.join(0.5)
sys.exit(0 if loop.intake.is_alive() else 1)
"""


def start_process(bootstrap: str, topic: str) -> subprocess.Popen:
    here = Path(__file__).parent
    daemon = subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-c", LEAVES_WITHOUT_CLOSING),
            *(bootstrap, topic, str(here)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    )
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == b"ready\n"
    return daemon


def test_topic_that_is_created_late_is_found(kafka, loops, group):
    topic = f"late-{uuid.uuid4().hex[:8]}"
    loop = loops(settings_for(kafka.bootstrap, topic, group))
    wait_until(lambda: loop.told(IntakeTrouble), 20)
    assert "not found" in loop.told(IntakeTrouble)[0].text

    kafka.create_topic(topic)
    kafka.produce(topic, values(3))
    loop.wait_for(3)

    assert loop.values() == values(3)
    wait_until(lambda: loop.told(IntakeTrouble)[-1].text == "", 10)


def test_what_was_written_to_a_new_partition_before_it_was_seen_is_not_lost(
    kafka, loops, group
):
    topic = kafka.create_topic()
    loop = loops(settings_for(kafka.bootstrap, topic, group))
    kafka.produce(topic, values(3))
    loop.wait_for(3)

    kafka.add_partitions(topic, 2)
    # another producer, which has not cached the number of partitions
    kafka.produce(topic, values(5, 3), partition=1, compression="gzip")
    loop.wait_for(8)

    assert [n.epoch for n in loop.told(Assigned)] == [1, 2]
    assert [r.value for r in loop.records if r.partition == 1] == values(5, 3)
    assert loop.told(Revoked) == []


def test_latest_begins_at_the_end_and_remembers_it(kafka, loops, group):
    topic = kafka.create_topic()
    kafka.produce(topic, values(10))
    settings = settings_for(kafka.bootstrap, topic, group, start="latest")
    first = loops(settings)
    first.settles = False
    wait_until(first.assigned, 30)
    kafka.produce(topic, values(5, 10))
    first.wait_for(5)
    first.close()

    second = loops(settings)
    second.wait_for(5)

    assert first.values() == second.values() == values(5, 10)
    assert first.told(Assigned) == [Assigned(0, 1, None, 10)]
    assert second.told(Assigned) == [Assigned(0, 1, 10, 10)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read(kafka, loops, group, codec):
    topic = kafka.create_topic()
    sent = [b"event %d " % number * 100 for number in range(500)]
    kafka.produce(topic, sent, compression=codec)
    loop = loops(settings_for(kafka.bootstrap, topic, group))

    loop.wait_for(500)

    assert loop.values() == sent


def test_tombstones_and_big_messages_are_read(kafka, loops, group):
    topic = kafka.create_topic(config={"max.message.bytes": "12000000"})
    big = os.urandom(10_000_000)
    kafka.produce(topic, [b"a", None, big, b"", b"z"])
    loop = loops(settings_for(kafka.bootstrap, topic, group))

    loop.wait_for(5)

    assert loop.values() == [b"a", None, big, b"", b"z"]


@pytest.mark.slow
def test_pause_of_any_length_keeps_the_membership_and_every_record(kafka, loops, group):
    topic = kafka.create_topic()
    settings = settings_for(kafka.bootstrap, topic, group, max_poll_interval_ms=7000)
    loop = loops(settings)
    kafka.produce(topic, values(10))
    loop.wait_for(10)

    loop.intake.pause()
    kafka.produce(topic, values(10, 10))
    time_is_up = time.monotonic() + 9
    wait_until(lambda: time.monotonic() > time_is_up, 12)
    before = len(loop.values())
    loop.intake.resume()
    loop.wait_for(20)

    assert before <= 20
    assert loop.values() == values(20)
    assert [r.epoch for r in loop.records] == [1] * 20
    assert loop.told(Revoked) == []


@pytest.mark.slow
def test_loop_that_takes_nothing_does_not_starve_the_poll(kafka, loops, group):
    topic = kafka.create_topic(partitions=2)
    settings = settings_for(
        kafka.bootstrap, topic, group, max_poll_interval_ms=7000, max_poll_records=10
    )
    kafka.produce(topic, values(500))
    loop = loops(settings)
    wait_until(lambda: loop.intake._outlet.batches.full(), 30)
    time_is_up = time.monotonic() + 9
    beats = set()
    wait_until(
        lambda: beats.add(loop.intake.last_beat) or time.monotonic() > time_is_up, 12
    )

    loop.wait_for(500)

    assert len(beats) > 20
    assert len(loop.told(Assigned)) == 2
    assert loop.told(Revoked) == []
    seen = [(r.partition, r.offset) for r in loop.records]
    assert len(seen) == len(set(seen)) == 500


def test_offsets_that_retention_took_are_told_and_reading_goes_on(kafka, loops, group):
    topic = kafka.create_topic()
    settings = settings_for(kafka.bootstrap, topic, group)
    kafka.produce(topic, values(10))
    first = loops(settings)
    first.wait_for(10)
    first.close()
    kafka.produce(topic, values(20, 10))
    kafka.delete_records(topic, 0, 25)

    second = loops(settings)
    second.wait_for(5)

    assert second.told(OffsetsLost) == [OffsetsLost(0, 1, 10, 25)]
    assert second.values() == values(5, 25)
    assert {r.epoch for r in second.records} == {1}


def test_a_gap_is_told_behind_the_records_that_were_read_before_it(kafka, loops, group):
    """The loop takes nothing for a while, and retention passes the reading position."""
    topic = kafka.create_topic()
    kafka.produce(topic, values(1))
    one_at_a_time = {"max_partition_fetch_bytes": 1, "max_poll_records": 1}
    loop = loops(settings_for(kafka.bootstrap, topic, group, **one_at_a_time))
    wait_until(lambda: loop.intake._outlet.batches.qsize() == 2, 40)
    loop.intake.pause()
    for number in range(1, 25):
        kafka.produce(topic, values(1, number))
    kafka.delete_records(topic, 0, 20)
    loop.intake.resume()
    wait_until(loop.intake._outlet.batches.full, 40)

    wait_until(lambda: values(1, 24)[0] in loop.values(), 40)

    ((lost, read),) = loop.gaps
    assert lost.first == 20
    assert loop.values()[:read] == values(lost.wanted)
    assert loop.values()[read:] == values(5, 20)


def test_topic_made_anew_is_read_from_its_beginning_in_a_new_epoch(kafka, loops, group):
    topic = kafka.create_topic()
    settings = settings_for(kafka.bootstrap, topic, group)
    kafka.produce(topic, values(10))
    first = loops(settings)
    first.wait_for(10)
    first.close()
    committed = kafka.committed(group, topic)[0]
    kafka.delete_topic(topic)
    wait_until(lambda: topic not in kafka.admin.list_topics(timeout=10).topics, 20)
    kafka.create_topic(topic)
    kafka.produce(topic, values(3, 90))

    second = loops(settings)
    second.wait_for(3)

    assert second.values() == values(3, 90)
    begun = second.told(Assigned)[-1]
    # the broker may drop the group's offsets with the topic
    if kafka.committed(group, topic) and begun.epoch == 2:
        assert second.told(OffsetsLost) == [OffsetsLost(0, 1, committed, 0)]
    assert begun.committed in (None, 0)


def test_second_member_with_the_same_static_id_ends_the_first(kafka, loops, group):
    topic = kafka.create_topic()
    settings = settings_for(kafka.bootstrap, topic, group, group_instance_id="node-1")
    first = loops(settings)
    wait_until(first.assigned, 30)
    second = loops(settings)
    wait_until(second.assigned, 40)
    kafka.produce(topic, values(5))

    wait_until(lambda: first.told(Fatal), 60)

    assert "group_instance_id" in first.told(Fatal)[0].text


def test_an_event_reaches_the_loop_within_milliseconds(kafka, loops, group):
    topic = kafka.create_topic()
    loop = loops(settings_for(kafka.bootstrap, topic, group))
    wait_until(lambda: loop.assigned() == {0}, 30)
    kafka.produce(topic, values(1))
    loop.wait_for(1)
    delays = []
    for number in range(1, 21):
        kafka.produce(topic, values(1, number))
        acknowledged = time.monotonic()
        wait_until(lambda n=number: len(loop.values()) > n, 10)
        delays.append(loop.seen_at[0, number] - acknowledged)

    assert sorted(delays)[10] < 0.3


def test_tls_with_a_client_certificate_and_sasl_are_spoken(kafka_tls, pki, loops):
    topic = "billing"
    if topic not in kafka_tls.topics:
        kafka_tls.create_topic(topic)
    kafka_tls.produce(topic, values(2))
    ca = str(pki.ca_pem)
    both = [
        secured(
            kafka_tls,
            ssl_cafile=ca,
            ssl_certfile=str(pki.user_cert),
            ssl_keyfile=str(pki.user_key),
        ),
        secured(
            kafka_tls,
            ssl_cafile=ca,
            sasl_mechanism="SCRAM-SHA-256",
            sasl_plain_username="bob",
            sasl_plain_password="bob-secret",
        ),
    ]
    for settings in both:
        loop = loops(settings)
        wait_until(loop.assigned, 30)
        loop.close()


def test_wrong_password_is_told_with_its_reason(kafka_tls, pki, loops):
    loop = loops(
        secured(
            kafka_tls,
            ssl_cafile=str(pki.ca_pem),
            sasl_mechanism="SCRAM-SHA-256",
            sasl_plain_username="bob",
            sasl_plain_password="wrong",
        )
    )

    (trouble,) = wait_until(lambda: loop.told(IntakeTrouble), 30)

    assert "authentication" in trouble.text.lower()
    assert "wrong" not in trouble.text


@pytest.mark.slow
def test_untrusted_broker_and_missing_certificate_are_told(kafka_tls, pki, loops):
    for client, words in (
        ({}, "certificate"),
        ({"ssl_cafile": str(pki.ca_pem)}, "certificate"),
    ):
        loop = loops(secured(kafka_tls, **client))

        (trouble,) = wait_until(lambda loop=loop: loop.told(IntakeTrouble), 30)

        assert words in trouble.text.lower()
        loop.close()
