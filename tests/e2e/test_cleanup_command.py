"""``dcmirror cleanup`` as cron runs it: only what is proved goes, killed or not."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
from deployment import Deployment, Running

from copies import RAW, copy_here
from dcmirror.core.paths import is_isolated_name
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

NOBODY = "127.0.0.1:9"  # cleanup asks no broker
KILLS = 20


@pytest.fixture
def site(deploy: Callable[..., Deployment], source: FakeDCache) -> Deployment:
    """A dcmirror that may delete at once."""
    made = deploy(
        NOBODY,
        source.door_url,
        cleanup={
            "allowed": True,
            "max_fraction": 1.0,
            "requests_per_second": 2000.0,
        },
    )
    made.variables["DCMIRROR_TEST_PROBE_SCALE"] = "0.02"
    return made


def copies(site: Deployment, source: FakeDCache, count: int) -> None:
    """Proved copies of new files."""
    paths = [f"{RAW}/d{number % 7}/f{number}" for number in range(count)]
    for number, path in enumerate(paths):
        source.upload(path, size=100, seed=number)
    copy_here(site.mirror, site.state / "catalogue.db", source, paths)


def proved(site: Deployment) -> dict[str, int]:
    """pnfsid and Adler-32 of every copy that is still right."""
    return dict(site.query("SELECT pnfsid, adler32 FROM copies"))


def only_what_was_proved_is_gone(site: Deployment, source: FakeDCache) -> None:
    """From the door's own record."""
    known = proved(site)
    strangers = [d for d in source.deletions if known.get(d.pnfsid) != d.adler32]

    assert strangers == []
    assert len({d.pnfsid for d in source.deletions}) == len(source.deletions)


def has_asked_or_ended(source: FakeDCache, running: Running, until: int) -> bool:
    """Whether so many requests have come in all."""
    return len(source.requests.all()) >= until or running.process.poll() is not None


def has_moved_or_ended(source: FakeDCache, running: Running, until: int) -> bool:
    """Whether so many renames have been asked for in all."""
    is_over = running.process.poll() is not None
    return is_over or len(source.requests.of("MOVE")) >= until


def has_ended_by_term(running: Running) -> bool:
    """One TERM each time that somebody asks; two at once would be one."""
    if running.process.poll() is None:
        running.signal(signal.SIGTERM)
        return False
    return True


def are_mirrored(site: Deployment, source: FakeDCache) -> bool:
    """Whether the books have the newest version of every file."""
    if not site.copies():  # the books are being made
        return False
    return set(proved(site)) >= {v.pnfsid for v in source.files.values()}


def isolated(source: FakeDCache) -> list[str]:
    """What is set apart at the source now."""
    return [p for p in source.files if is_isolated_name(p.rpartition("/")[2])]


def test_twenty_kills_and_an_adversary_cost_no_file_that_was_not_proved(
    site: Deployment, source: FakeDCache
) -> None:
    """Killed after a random number of requests, each time; one file in ten is replaced
    as it is set apart, and one in ten written anew while it is being deleted.
    """
    copies(site, source, 300)
    dice = random.Random(4711)
    replaced = {p for p in source.files if p.endswith("7")}
    source.faults.add("replace", "*7", methods="MOVE")
    rewritten: set[str] = set()

    def write_anew(path: str) -> None:
        gone = next((p for p in olds if p not in source.files), None)
        if gone is not None and gone not in rewritten:
            rewritten.add(gone)
            source.upload(gone, b"the next night's data")

    olds = sorted(p for p in source.files if p.endswith("3"))
    source.site.watchers["DELETE"] = write_anew
    for _ in range(KILLS):
        running = Running(site, "cleanup", "-q")
        until = len(source.requests.all()) + dice.randrange(1, 70)
        wait_until(partial(has_asked_or_ended, source, running, until), 30)
        running.kill()
    del source.site.watchers["DELETE"]
    for _ in range(2):  # the last one finds nothing left over
        site.run("cleanup", "-q")

    only_what_was_proved_is_gone(site, source)
    assert isolated(source) == []
    assert set(source.files) == replaced | rewritten
    known = proved(site)
    assert not [p for p, v in source.files.items() if v.pnfsid in known]
    assert site.query("SELECT * FROM deletions WHERE ended_at IS NULL") == []
    told = site.query("SELECT pnfsid FROM deletions WHERE result LIKE 'deleted%'")
    assert {row[0] for row in told} >= {d.pnfsid for d in source.deletions}
    sure = site.query("SELECT pnfsid FROM deletions WHERE result = 'deleted'")
    assert {row[0] for row in sure} <= {d.pnfsid for d in source.deletions}


def test_kills_amid_renamed_directories_and_refusals_leave_nothing_apart(
    site: Deployment, source: FakeDCache
) -> None:
    """A directory is renamed while files in it are set apart, and has its name back
    two runs later; one file in ten is replaced, and the door refuses for a while.
    """
    copies(site, source, 300)
    dice = random.Random(815)
    olds = {version.pnfsid: path for path, version in source.files.items()}
    namespace, away = source.site.namespace, list[str]()

    def rename(path: str) -> None:
        if not away and is_isolated_name(path.rpartition("/")[2]):
            away.append(path.rpartition("/")[0])
            source.move(away[0], f"{away[0]}.old")

    for turn in range(12):
        source.faults.clear()
        source.faults.add("replace", "*7", methods="MOVE")
        if turn % 4 == 3:
            source.faults.add("status", "*", status=503, methods="DELETE")
        source.site.watchers["DELETE"] = rename
        running = Running(site, "cleanup", "-q")
        until = len(source.requests.of("MOVE")) + dice.randrange(1, 40)
        wait_until(partial(has_moved_or_ended, source, running, until), 30)
        running.kill()
        if turn % 2 and away:
            source.move(f"{away[0]}.old", away[0])
            away.clear()
    del source.site.watchers["DELETE"]
    source.faults.clear()
    for path in away:
        source.move(f"{path}.old", path)
    for _ in range(2):
        site.run("cleanup", "-q")

    only_what_was_proved_is_gone(site, source)
    assert isolated(source) == []
    assert not [d for d in namespace.children(RAW) if d.endswith(".old")]
    assert site.query("SELECT * FROM deletions WHERE ended_at IS NULL") == []
    there = {version.pnfsid for version in source.files.values()}
    gone = {d.pnfsid for d in source.deletions}
    replaced = {path for pnfsid, path in olds.items() if pnfsid not in there | gone}
    news = {p for p, version in source.files.items() if version.pnfsid not in olds}
    assert news == replaced != set()
    sure = site.query("SELECT pnfsid FROM deletions WHERE result = 'deleted'")
    assert {row[0] for row in sure} <= gone


def test_term_ends_it_after_the_deletions_in_hand(
    site: Deployment, source: FakeDCache
) -> None:
    copies(site, source, 200)
    source.faults.add("stall", "*", seconds=0.05, methods="DELETE")
    running = Running(site, "cleanup")
    wait_until(lambda: len(source.deletions) > 5, 30)
    running.signal(signal.SIGTERM)

    assert running.process.wait(30) == 128 + signal.SIGTERM
    assert 5 < len(source.deletions) < 200
    assert isolated(source) == []
    assert site.query("SELECT * FROM deletions WHERE ended_at IS NULL") == []
    only_what_was_proved_is_gone(site, source)


def stalled_cleanup(site: Deployment, source: FakeDCache, seconds: float) -> Running:
    """It waits for the answer to its first DELETE."""
    copies(site, source, 20)
    source.faults.add("stall", "*", seconds=seconds, methods="DELETE")
    running = Running(site, "cleanup")
    wait_until(lambda: source.requests.of("DELETE"), 30)
    return running


def test_a_second_cleanup_is_told_who_runs(
    site: Deployment, source: FakeDCache
) -> None:
    running = stalled_cleanup(site, source, 60.0)
    second = site.run("cleanup")
    running.kill()

    assert second.returncode == 10
    assert f"pid {running.pid}" in second.stderr


def test_in_cron_the_first_run_refuses_and_says_what_to_do(
    site: Deployment, source: FakeDCache
) -> None:
    """No terminal, hardly any environment."""
    site.tables["cleanup"]["allowed"] = False
    site.write()
    copies(site, source, 3)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            site.command("cleanup", "--config", str(site.config), *args),
            env={"PATH": "/usr/bin:/bin", "HOME": str(site.home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    first = run("-q")
    assert first.returncode == 21
    assert "cleanup --dry-run" in first.stderr
    assert len(source.files) == 3
    assert run("--dry-run").returncode == 0
    last = run("-q")
    assert (last.returncode, last.stdout, last.stderr) == (0, "", "")
    assert source.files == {}


def test_a_door_that_is_away_ends_it_with_its_own_status(
    site: Deployment, source: FakeDCache
) -> None:
    copies(site, source, 3)
    source.stop()
    site.variables["DCMIRROR_TEST_PROBE_SCALE"] = "0.002"
    done = site.run("cleanup")

    assert done.returncode == 14, done.stderr
    assert len(done.stderr.splitlines()) < 6
    assert "Traceback" not in done.stderr


def test_it_runs_beside_a_watch_which_mirrors_what_is_written_anew(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka
) -> None:
    """And the door's own records of the deletions start nothing."""
    site = deploy(
        kafka.bootstrap,
        dcache.door_url,
        cleanup={"allowed": True, "min_age_days": 0.0, "max_fraction": 1.0},
    )
    watch = site.watch()
    paths = [f"{RAW}/f{number}" for number in range(10)]
    for turn in range(2):
        for number, path in enumerate(paths):
            dcache.upload(path, size=100, seed=10 * turn + number)
        wait_until(partial(are_mirrored, site, dcache), 60)
        done = site.run("cleanup")
        assert done.returncode == 0, done.stderr
        assert dcache.files == {}
    only_what_was_proved = {d.pnfsid for d in dcache.deletions}

    assert len(only_what_was_proved) == 20
    assert watch.stop() == 0
    assert site.failed_rows() == []
    assert site.files() == {f"f{number}" for number in range(10)}
    assert site.query("SELECT count(*) FROM deletions") == [(20,)]


def test_a_second_term_leaves_at_once_and_the_next_run_finds_out(
    site: Deployment, source: FakeDCache
) -> None:
    running = stalled_cleanup(site, source, 60.0)
    wait_until(partial(has_ended_by_term, running), 20)
    # the last TERM may have come when it was leaving already
    assert running.process.poll() in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert site.query("SELECT * FROM deletions WHERE ended_at IS NULL") != []
    source.faults.clear()

    assert site.run("cleanup").returncode == 0
    assert source.files == {}
    assert site.query("SELECT * FROM deletions WHERE ended_at IS NULL") == []
    only_what_was_proved_is_gone(site, source)
