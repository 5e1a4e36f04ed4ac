"""The mirror on real file systems: races and kills."""

from __future__ import annotations

import multiprocessing
import random
import threading
from pathlib import Path

import pytest

from dcmirror.adapters import looks
from dcmirror.adapters.mirror_store import MirrorStore, PartBusy
from dcmirror.core.checksums import adler32
from dcmirror.processes.publisher import Published, Publisher
from mirror_words import names_below, publish
from store_children import (
    finish,
    make_store,
    publish_for_ever,
    race_for_one_name,
    results_of,
)

children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["store_children"])


def test_threads_that_race_for_one_name_end_in_one_good_copy(
    store: MirrorStore, root: Path
) -> None:
    publisher = Publisher(store)
    publisher.start()
    results: list[Published] = []
    for number in range(10):
        barrier = threading.Barrier(4)
        submitted: list[bytes] = []

        def run(content: bytes, relative: str) -> None:
            barrier.wait(10)  # noqa: B023
            try:
                finished = finish(store, relative, content)
            except PartBusy:
                return
            submitted.append(content)  # noqa: B023
            publisher.submit(finished)

        threads = [
            threading.Thread(target=run, args=(bytes([n]) * 5000, f"r/{number}"))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        results += results_of(publisher, len(submitted))

        assert (root / f"r/{number}").read_bytes() in submitted
    publisher.close(30)

    assert [result.error for result in results if result.error] == []
    assert names_below(root) == ["r", *sorted(f"r/{number}" for number in range(10))]


def test_processes_that_race_for_one_name_end_in_one_good_copy(root: Path) -> None:
    contents = [bytes([n]) * 20_000 for n in range(3)]
    pipes, racers = [], []
    for content in contents:
        receive, send = children.Pipe(duplex=False)
        racer = children.Process(
            target=race_for_one_name, args=(root, content, 30, send)
        )
        racer.start()
        send.close()
        pipes.append(receive)
        racers.append(racer)
    outcomes = [pipe.recv() for pipe in pipes if pipe.poll(60)]
    for racer in racers:
        racer.join(30)
    for pipe in pipes:
        pipe.close()

    assert len(outcomes) == 3
    assert {outcome for one in outcomes for outcome in one} <= {
        "published",
        "busy",
        "changed",
    }
    for number in range(30):
        assert "published" in {one[number] for one in outcomes}
        assert (root / f"race/{number}").read_bytes() in contents
    assert [name for name in names_below(root) if "part" in name] == []


def test_a_look_sees_one_file_while_it_is_replaced(
    store: MirrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, "file", b"first", 1.5e9)
    read = looks.read_attribute

    def replaced_before(directory_fd: int, name: str) -> bytes | None:
        monkeypatch.setattr(looks, "read_attribute", read)
        publish(store, "file", b"second", 1.6e9)
        return read(directory_fd, name)

    monkeypatch.setattr(looks, "read_attribute", replaced_before)

    look = store.look("file")

    assert look.mark is not None
    assert (look.size, look.mark.size, look.mtime_ns) == (6, 6, 1_600_000_000 * 10**9)


@pytest.mark.parametrize("sync", ["none", "group"])
def test_a_kill_at_any_moment_leaves_whole_files_and_parts_that_can_be_replaced(
    root: Path, sync: str
) -> None:
    rng = random.Random(7)
    found_parts = kills = 0
    while kills < 8 or (found_parts == 0 and kills < 40):
        receive, send = children.Pipe(duplex=False)
        child = children.Process(
            target=publish_for_ever, args=(root, kills, sync, send)
        )
        child.start()
        send.close()
        assert receive.poll(60)
        # The moment of the kill is the point of this pause.
        threading.Event().wait(rng.uniform(0, 0.04))
        child.kill()
        child.join(30)
        receive.close()
        kills += 1
        found_parts += assert_all_files_whole(root)

    store = make_store(root)
    for name in [f"d{n % 3}/f{n}" for n in range(10)]:
        assert publish(store, name, b"after all").error is None
    assert [name for name in names_below(root) if name.endswith(".part")] == []
    assert found_parts > 0, "no kill hit a part: the pauses do not fit this machine"


def assert_all_files_whole(root: Path) -> int:
    """Every final name has right bytes and mark; returns how many parts lie about."""
    store = make_store(root)
    found_parts = 0
    for name in names_below(root):
        if not (root / name).is_file():
            continue
        if name.endswith(".part"):
            found_parts += 1
            continue
        look = store.look(name)
        assert look.mark is not None, name
        assert look.mark.adler32 == adler32((root / name).read_bytes(), 1)
    return found_parts
