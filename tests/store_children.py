"""What the store's tests run in processes of their own, to be raced and killed."""

from __future__ import annotations

import os
import random
import select
from multiprocessing.connection import Connection
from pathlib import Path

from dcmirror.adapters.mirror_store import MirrorStore, PartBusy
from dcmirror.core.checksums import adler32
from dcmirror.core.marks import Mark
from dcmirror.processes.publisher import FinishedPart, Published, Publisher

TAG = "0a1b2c3d"


def make_store(
    root: Path, *, tag: str = TAG, shared: bool = False, mode: int = 0o2755
) -> MirrorStore:
    return MirrorStore(root, directory_mode=mode, shared=shared, tag=tag)


def mark_of(content: bytes, pnfsid: str | None = "0000AB") -> Mark:
    return Mark(pnfsid, adler32(content, 1), True, len(content), 0, 1.6e9)


def finish(
    store: MirrorStore, relative: str, content: bytes, mtime: float | None = None
) -> FinishedPart:
    """A claimed and written part, ready to publish; the token is its path."""
    part = store.claim(relative, store.look(relative))
    part.write(content)
    return FinishedPart(part, mark_of(content), mtime, relative)


def results_of(publisher: Publisher, count: int) -> list[Published]:
    """Wait for ``count`` results."""
    results: list[Published] = []
    while len(results) < count:
        assert select.select([publisher.fd], [], [], 30)[0], "no result within 30 s"
        results += publisher.take_results()
        assert results or publisher.is_alive(), "the publisher died"
    return results


def publish_for_ever(root: Path, seed: int, sync: str, started: Connection) -> None:
    """Replace the same ten files again and again, until killed."""
    rng = random.Random(seed)
    store = make_store(root)
    publisher = Publisher(store, sync=sync)
    publisher.start()
    started.send(os.getpid())
    while True:
        names = rng.sample([f"d{n % 3}/f{n}" for n in range(10)], rng.randint(1, 10))
        for name in names:
            publisher.submit(finish(store, name, rng.randbytes(rng.randint(0, 40_000))))
        results_of(publisher, len(names))


def race_for_one_name(root: Path, content: bytes, rounds: int, out: Connection) -> None:
    """Publish ``content`` under names that others want too; tells how each went."""
    store = make_store(root)
    publisher = Publisher(store)
    publisher.start()
    outcomes = []
    for number in range(rounds):
        try:
            publisher.submit(finish(store, f"race/{number}", content))
        except PartBusy:
            outcomes.append("busy")
            continue
        (result,) = results_of(publisher, 1)
        if result.error:
            outcomes.append(str(result.error))
        else:
            outcomes.append("changed" if result.changed else "published")
    publisher.close(30)
    out.send(outcomes)
