"""What a source can do wrong with one file, and that it stops no other (G2, G6)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from chaos import IMPATIENT, RAW, classes, copied, ended_well, events, given_up
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.fake_namespace import adler32_of
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

SIZE = 200_000
#: The smallest limits that a busy machine does not reach by itself.
TIGHT = {
    "first_byte_seconds": 2.0,
    "stall_seconds": 2.0,
    "stall_bytes_per_second": 1000,
    "net_seconds": 2.0,
    "grace_seconds": 4.0,
}
#: Each hits the first request for its file and is gone at the second.
PASSING: dict[str, dict[str, Any]] = {
    "status": {"status": 503},
    "reset": {},
    "hang-up": {},
    "bounce": {},
    "stall": {},
    "stall-body": {"after": 1000},
    "short-body": {"count": 1000},
    "reset-body": {"after": 1000},
    "flip": {"after": 5},
    "digest-wrong": {"methods": ("GET",)},
}


@pytest.fixture
def tight(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka
) -> Deployment:
    """A dcmirror that loses patience within seconds, and tries twice again."""
    mirror = deploy(
        kafka.bootstrap,
        dcache.door_url,
        source=TIGHT,
        dcache={"retrytimes": 2, "maxdownloads": 20},
    )
    mirror.variables.update(IMPATIENT)
    return mirror


def intact(mirror: Deployment, dcache: FakeDCache, *names: str) -> None:
    """These copies have the bytes that the source has."""
    for name in names:
        data = (mirror.mirror / name).read_bytes()
        assert zlib.adler32(data) == dcache.files[f"{RAW}/{name}"].adler32, name


def test_what_goes_wrong_once_ends_in_a_good_copy(
    tight: Deployment, dcache: FakeDCache
) -> None:
    for kind, options in PASSING.items():
        dcache.faults.add(kind, f"{RAW}/{kind}", per_path=1, **options)
    running = tight.watch()
    for seed, kind in enumerate(PASSING):
        dcache.upload(f"{RAW}/{kind}", size=SIZE, seed=seed)
    copied(tight, *PASSING)

    assert set(dcache.faults.fired) == set(PASSING)
    intact(tight, dcache, *PASSING)
    assert tight.failed_rows() == []
    ended_well(running)
    assert tight.parts() == []


def test_what_stays_wrong_is_a_row_with_its_class(
    tight: Deployment, dcache: FakeDCache
) -> None:
    add = dcache.faults.add
    add("redirect-loop", f"{RAW}/loop")
    add("redirect-to", f"{RAW}/scheme", url="ftp://localhost/x")
    add("redirect-to", f"{RAW}/host", url="http://elsewhere.invalid/x")
    add("short-body", f"{RAW}/short", count=1000)
    add("flip", f"{RAW}/flip", after=5)
    add("digest-wrong", f"{RAW}/digest", where="both")
    add("stall-body", f"{RAW}/stall", after=1000)
    add("status", f"{RAW}/late", status=404)
    add("status", f"{RAW}/broken", status=500)
    add("status", f"{RAW}/teapot", status=418)
    add("status", f"{RAW}/removed", status=410)
    expected = {
        "loop": "redirect-refused",
        "scheme": "redirect-refused",
        "host": "redirect-refused",
        "short": "transient",
        "flip": "checksum-mismatch",
        "digest": "checksum-mismatch",
        "stall": "transient",
        "late": "gone",
        "broken": "transient",
        "teapot": "transient",
        "removed": "removed",
    }
    tight.tables["source"]["redirect_hosts"] = ["localhost"]
    tight.write()
    running = tight.watch()
    for seed, name in enumerate(expected):
        dcache.upload(f"{RAW}/{name}", size=SIZE, seed=seed)
    dcache.upload(f"{RAW}/good", size=SIZE, seed=99)
    copied(tight, "good")
    # what is gone becomes a row when the source has shown that it is well
    wait_until(lambda: _suspended_or_settled(tight) == 2, 60)
    dcache.upload(f"{RAW}/good too", size=SIZE, seed=100)
    given_up(tight, len(expected), deadline=60)

    assert classes(tight) == expected
    assert tight.files() == {"good", "good too"}
    assert "[HOLD]" not in running.log
    ended_well(running)


def _suspended_or_settled(deployment: Deployment) -> int:
    """Files that are gone or removed, and have come to their end."""
    status = deployment.status()
    failures = status["failures"]
    settled = failures.get("gone", 0) + failures.get("removed", 0)
    return int(status["jobs"]["provisional"]) + settled


def test_no_byte_of_a_bad_body_is_ever_seen(
    tight: Deployment, dcache: FakeDCache
) -> None:
    """The old version stays until the new one is complete and proved."""
    running = tight.watch()
    dcache.upload(f"{RAW}/a", b"the first version")
    copied(tight, "a")
    dcache.faults.add("flip", f"{RAW}/a", after=5)
    dcache.upload(f"{RAW}/a", b"the second version")
    given_up(tight)

    assert (tight.mirror / "a").read_bytes() == b"the first version"
    ended_well(running)


def test_a_slow_trickle_is_not_a_stall(tight: Deployment, dcache: FakeDCache) -> None:
    """Above the limit all the time, and for longer than stall_seconds."""
    dcache.faults.add("trickle", f"{RAW}/slow", count=20_000)
    running = tight.watch()
    dcache.upload(f"{RAW}/slow", size=100_000, seed=1)
    copied(tight, "slow")

    assert tight.status()["retries"] == 0
    ended_well(running)


def test_retry_after_is_obeyed(tight: Deployment, dcache: FakeDCache) -> None:
    dcache.faults.add("status", f"{RAW}/a", status=429, retry_after="3", per_path=1)
    running = tight.watch()
    dcache.upload(f"{RAW}/a", size=SIZE, seed=1)
    copied(tight, "a")
    refused, good = dcache.requests.of("GET", f"{RAW}/a", "door")

    assert refused.status == 429
    assert good.at - refused.at >= 3.0
    ended_well(running)


def test_a_file_that_appears_late_is_not_charged(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    """404, and 500 while the upload is not complete: both within the grace period."""
    dcache.faults.add("status", f"{RAW}/late", status=404, per_path=3)
    running = mirror.watch()
    dcache.upload(f"{RAW}/late", size=SIZE, seed=1)
    dcache.begin(f"{RAW}/unfinished")
    dcache.tell(f"{RAW}/unfinished")
    running.says("500")
    dcache.finish(f"{RAW}/unfinished", b"finished" * 1000, publish=False)
    copied(mirror, "late", "unfinished")

    assert "not charged" in running.log
    assert "attempt 2" not in running.log
    assert mirror.failed_rows() == []
    assert (mirror.mirror / "unfinished").read_bytes() == b"finished" * 1000
    ended_well(running)


def test_odd_digests_are_understood(tight: Deployment, dcache: FakeDCache) -> None:
    """Without leading zeros, or in capitals."""
    data = next(d for n in range(9999) if zlib.adler32(d := b"%d" % n) < 1 << 28)
    dcache.faults.add("digest-unpadded", f"{RAW}/unpadded")
    dcache.faults.add("digest-upper", f"{RAW}/upper")
    running = tight.watch()
    dcache.upload(f"{RAW}/unpadded", data)
    dcache.upload(f"{RAW}/upper", size=SIZE, seed=1)
    copied(tight, "unpadded", "upper")

    rows = tight.query("SELECT verified FROM copies")
    assert rows == [(1,), (1,)]
    assert tight.status()["retries"] == 0
    ended_well(running)


def test_a_file_without_digest_may_be_accepted_unverified(
    tight: Deployment, dcache: FakeDCache
) -> None:
    tight.tables["source"]["missing_digest"] = "accept"
    tight.write()
    running = tight.watch()
    dcache.upload(f"{RAW}/a", size=SIZE, seed=1, digest=False)
    copied(tight, "a")

    assert tight.query("SELECT verified FROM copies") == [(0,)]
    ended_well(running)


def test_a_digest_that_comes_late_is_waited_for(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    dcache.upload(f"{RAW}/a", size=SIZE, seed=1, digest=False)
    wait_until(lambda: dcache.requests.of("HEAD", f"{RAW}/a"), 20)
    content = dcache.files[f"{RAW}/a"].content
    dcache.set_digest(f"{RAW}/a", adler32_of(content))
    copied(mirror, "a")

    assert mirror.query("SELECT verified FROM copies") == [(1,)]
    ended_well(running)


def test_a_file_overwritten_during_its_copy_ends_as_the_newest(
    tight: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("trickle", f"{RAW}/a", count=50_000, times=1)
    running = tight.watch()
    dcache.upload(f"{RAW}/a", size=SIZE, seed=1)
    wait_until(tight.parts, 20)
    pnfsid = dcache.upload(f"{RAW}/a", size=SIZE + 1, seed=2)

    def is_newest() -> bool:
        return tight.query("SELECT pnfsid FROM copies") == [(pnfsid,)]

    copied(tight, "a")
    wait_until(is_newest, 30)
    intact(tight, dcache, "a")
    assert tight.failed_rows() == []
    ended_well(running)


def test_another_write_session_of_an_nfs_file_is_copied_again(
    tight: Deployment, dcache: FakeDCache
) -> None:
    running = tight.watch()
    dcache.upload(f"{RAW}/a", b"first session", protocol="nfs")
    copied(tight, "a")
    dcache.rewrite_nfs(f"{RAW}/a", b"first session and second")
    path = tight.mirror / "a"
    wait_until(lambda: path.read_bytes() == b"first session and second", 30)

    assert len(tight.copies()) == 1
    ended_well(running)


def test_events_of_each_failure_say_where_and_why(
    tight: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("status", f"{RAW}/a", status=503, per_path=1)
    running = tight.watch()
    dcache.upload(f"{RAW}/a", size=SIZE, seed=1)
    copied(tight, "a")
    ended_well(running)
    (retry,) = events(tight, "transfer-retry")

    assert retry["http"]["response"]["status_code"] == 503
    assert "503" in retry["error"]["message"]
