"""Lists a directory, or walks a tree, as dcmirror does; prints what it took, as JSON.

A process of its own, so that its memory is that of the listing.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measuring import cpu_seconds, peak_bytes, resident_bytes
from dcmirror.adapters.door_client import DoorClient, DoorOptions
from dcmirror.adapters.pace import Pace
from dcmirror.core.paths import PathMap
from dcmirror.processes.patience import Patience
from dcmirror.processes.walk import Walk

_NO_LIMIT = 1e9


@dataclass(frozen=True)
class Order:
    """What to list, and how; ``parallel`` 0: one directory, without a walk."""

    url: str
    credential: str
    capath: str
    parallel: int = 0


@dataclass(frozen=True)
class Listed:
    """What it took, from the first request to the last entry."""

    entries: int
    requests: int
    seconds: float
    cpu_seconds: float
    resident_bytes_before: int
    peak_bytes: int


def run(order: Order) -> Listed:
    me = [os.getpid()]
    before = resident_bytes(me)
    began, cpu = time.monotonic(), cpu_seconds(me)
    entries, requests = walk(order) if order.parallel else list_one(order)
    return Listed(
        entries,
        requests,
        time.monotonic() - began,
        cpu_seconds(me) - cpu,
        before,
        peak_bytes(me),
    )


def client_of(order: Order, pace: Pace) -> DoorClient:
    options = DoorOptions(
        proxy=Path(order.credential),
        capath=Path(order.capath),
        path_map=PathMap(order.url, "/", "/"),
    )
    return DoorClient(options, pace)


def list_one(order: Order) -> tuple[int, int]:
    client = client_of(order, Pace(_NO_LIMIT))
    try:
        return sum(1 for _ in client.list("/")), client.requests
    finally:
        client.close()


def walk(order: Order) -> tuple[int, int]:
    stop = threading.Event()
    pace = Pace(_NO_LIMIT, stop=stop)
    patience = Patience(lambda text: print(text, file=sys.stderr), stop)
    entries = 0
    with Walk(
        lambda: client_of(order, pace), "/", order.parallel, patience, stop
    ) as walked:
        for page in walked:
            entries += len(page.entries)
            if page.is_last:
                walked.done(page.directory)
        return entries, walked.requests


def main() -> None:
    print(json.dumps(asdict(run(Order(**json.loads(sys.argv[1]))))))


if __name__ == "__main__":
    main()
