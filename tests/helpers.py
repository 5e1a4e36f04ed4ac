"""Small things that many tests need."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T], deadline: float = 30.0, *, what: str = ""
) -> T:
    """Ask until the answer is true and return it, at most ``deadline`` seconds."""
    end = time.monotonic() + deadline
    pause = 0.002
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > end:
            claim = what or getattr(predicate, "__name__", "the condition")
            raise AssertionError(f"{claim}: not within {deadline} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def in_time(call: Callable[[], T], deadline: float = 20.0) -> T:
    """What it returns or raises; a call that never ends fails, and hangs no test."""
    done: Future[T] = Future()

    def end() -> None:
        try:
            done.set_result(call())
        except BaseException as exc:  # noqa: BLE001 - whoever asked gets it
            done.set_exception(exc)

    threading.Thread(target=end, daemon=True).start()
    return done.result(deadline)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on just now; all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def free_port() -> int:
    return free_ports(1)[0]


def make_event(**over: Any) -> bytes:
    """A pool's record of a successful upload, as dCache 11 writes it.

    Keyword arguments replace members; a value of ``...`` removes one.
    """
    path = over.get("billingPath", "/pnfs/example.org/data/exp/raw/file-1")
    event: dict[str, Any] = {
        "version": "1.0",
        "msgType": "transfer",
        "date": "2025-03-04T05:06:07.089+01:00",
        "cellName": "pool_1",
        "cellType": "pool",
        "cellDomain": "pool_1Domain",
        "status": {"code": 0, "msg": ""},
        "session": f"pool:pool_1@pool_1Domain:{uuid.uuid4().hex[:8]}",
        "initiator": f"door:WebDAV-s1@dCacheDomain:{uuid.uuid4().hex[:12]}",
        "pnfsid": f"0000{uuid.uuid4().hex.upper()}",
        "billingPath": path,
        "transferPath": path,
        "fileSize": 1024,
        "transferSize": 1024,
        "transferTime": 12,
        "transactionDuration": 13,
        "isWrite": "write",
        "isP2p": False,
        "storageInfo": "exp:raw@osm",
        "protocolInfo": {
            "protocol": "Http",
            "versionMajor": 1,
            "versionMinor": 1,
            "host": "192.0.2.7",
            "port": 42424,
        },
    }
    event.update(over)
    kept = {key: value for key, value in event.items() if value is not ...}
    return json.dumps(kept, ensure_ascii=False).encode()


def tree_digest(
    directory: Path, *, ignore: Callable[[str], bool] = lambda name: False
) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file below ``directory``, by relative name."""
    found = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            relative = str(path.relative_to(directory))
            if not ignore(relative):
                found[relative] = (path.stat().st_size, _sha256(path))
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
