"""What Kafka records say, and what they must not be able to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from chaos import RAW, classes, copied, ended_well, events, given_up, settled
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.fake_events import Mode
from helpers import make_event

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.kafka import Kafka


@pytest.mark.parametrize("tells", [True, False])
def test_an_srm_upload_is_copied_once_it_is_committed(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tells: bool
) -> None:
    """404 until then; with dCache's record of the commit at once, else by asking."""
    mirror = deploy(kafka.bootstrap, dcache.door_url, dcache={"retryseconds": 1.0})
    running = mirror.watch()
    temporary = dcache.upload_srm(f"{RAW}/a", b"by srm" * 1000)
    running.says("not charged")
    if tells:
        dcache.commit_srm(f"{RAW}/a", temporary)
    else:
        dcache.move(temporary, f"{RAW}/a")
    copied(mirror, "a")

    assert (mirror.mirror / "a").read_bytes() == b"by srm" * 1000
    assert mirror.failed_rows() == []
    ended_well(running)


@pytest.mark.parametrize("mode", [Mode.BILLING, Mode.ANCESTOR])
def test_own_reads_never_start_work(
    deploy: Callable[..., Deployment],
    kafka: Kafka,
    topic: str,
    pki: Pki,
    mode: Mode,
) -> None:
    """Doors' records without mover: hints at most, and ours come back as one each."""
    kafka.create_topic(topic, 3)
    with FakeDCache(
        pki, mode=mode, publish=lambda value: kafka.produce(topic, [value])
    ) as dcache:
        mirror = deploy(kafka.bootstrap, dcache.door_url)
        running = mirror.watch()
        for number in range(5):
            dcache.upload(f"{RAW}/{number}", size=1000, seed=number)
        copied(mirror, *map(str, range(5)))
        settled(dcache, kafka, topic)
        gets = dcache.requests.of("GET", server="door")
        assert len(gets) == 5
        assert running.log.count("[COPY_OVER]") == 5
        ended_well(running)


def test_doors_alone_are_enough(
    deploy: Callable[..., Deployment], kafka: Kafka, topic: str, pki: Pki
) -> None:
    """No pool publishes: each door's record waits for the net, then is a job."""
    kafka.create_topic(topic, 3)
    with FakeDCache(
        pki, mode=Mode.DOORS, publish=lambda value: kafka.produce(topic, [value])
    ) as dcache:
        mirror = deploy(kafka.bootstrap, dcache.door_url)
        running = mirror.watch()
        running.says("[KAFKA]")
        dcache.upload(f"{RAW}/a", size=1000, seed=1)
        copied(mirror, "a")
        ended_well(running)
        (seen,) = events(mirror, "upload-seen")

        assert seen["message"]
        assert mirror.failed_rows() == []


def test_paths_that_lead_out_of_the_mirror_are_one_row_each(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    bad = [
        f"{RAW}/../../../../etc/passwd",
        f"{RAW}/a/../../../../../tmp/x",
        f"{RAW}/./x",
        f"{RAW}/{'n' * 256}",
        f"{RAW}/{'d/' * 3000}x",
        f"{RAW}/line\nfeed",
        f"{RAW}/nul\0byte",
    ]
    running = mirror.watch()
    for path in bad:
        dcache.publish_raw(make_event(billingPath=path))
    given_up(mirror, len(bad))
    dcache.upload(f"{RAW}/good", size=1000, seed=1)
    copied(mirror, "good")
    ended_well(running)

    assert set(classes(mirror).values()) == {"unsafe-path"}
    assert len(mirror.failed_rows()) == len(bad)
    assert mirror.files() == {"good"}
    assert dcache.requests.of(path=bad[0]) == []
    lines = (mirror.state / "failed.csv").read_text().splitlines()
    assert len(lines) == 1 + len(bad)


def test_records_cannot_forge_log_lines(mirror: Deployment, dcache: FakeDCache) -> None:
    running = mirror.watch()
    forged = "2020/01/01 00:00:00 [COPY_OVER] all is well (SYSTEM)"
    dcache.publish_raw(make_event(billingPath=f"{RAW}/x\n{forged}"))
    dcache.publish_raw(b'{"msgType": "transfer\n' + forged.encode() + b'"')
    dcache.upload(f"{RAW}/\x1b[31mred", size=1000, seed=1)
    given_up(mirror, 2)
    ended_well(running)

    assert not any(line.startswith("2020/01/01") for line in running.log.splitlines())
    assert "\x1b" not in running.log


def test_garbage_is_told_and_skipped(
    mirror: Deployment, dcache: FakeDCache, kafka: Kafka, topic: str
) -> None:
    folder = RAW.encode()
    garbage = [
        b"",
        b"\xff\xfe" + folder,
        b"{" + folder,
        b"[]" + folder,
        b'"' + folder + b'"',
        b"[" * 100_000 + folder,
        json.dumps({"billingPath": f"{RAW}/x"}).encode(),
        json.dumps({"msgType": 7, "billingPath": f"{RAW}/x"}).encode(),
        make_event(billingPath=f"{RAW}/good", fileSize="a lot"),
        make_event(billingPath=f"{RAW}/good", status=None),
        b"x" * 900_000 + folder,
    ]
    running = mirror.watch()
    for value in garbage:
        dcache.publish_raw(value)
    dcache.upload(f"{RAW}/good", size=1000, seed=1)
    copied(mirror, "good")
    settled(dcache, kafka, topic)
    ended_well(running)
    rejected = events(mirror, "event-rejected")
    assert len(rejected) == running.log.count("[REJECTED]") >= 5
    assert mirror.files() == {"good"}
    assert mirror.failed_rows() == []
