"""Short words for what the store's tests do again and again."""

from __future__ import annotations

from pathlib import Path

from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.processes.publisher import Published, Publisher
from store_children import finish


def publish(
    store: MirrorStore, relative: str, content: bytes, mtime: float | None = None
) -> Published:
    publisher = Publisher(store)
    publisher.submit(finish(store, relative, content, mtime))
    publisher.start()
    publisher.close(30)
    (result,) = publisher.take_results()
    return result


def names_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))
