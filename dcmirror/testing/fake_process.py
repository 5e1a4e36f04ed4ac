"""The fake dCache in a process of its own, asked over stdin and stdout.

Which process runs this: the one that ``fake_client.RemoteDCache`` starts, or a person's
shell.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dcmirror.testing.fake_dcache import ROOT, FakeDCache
from dcmirror.testing.fake_events import Mode
from dcmirror.testing.kafka_publisher import KafkaPublisher
from dcmirror.testing.lines import serve
from dcmirror.testing.pki import Pki, make_pki

_EPILOG = """
The first line of output says where the door and the test credentials are.  Then each
line of input is one call, such as
  {"call": "upload", "arguments": {"path": "/pnfs/example.org/data/a", "size": 10}}
  {"call": "add_fault", "arguments": {"kind": "status", "status": 503, "times": 2}}
  {"call": "counters", "arguments": {}}
and is answered by one line.  It ends at the end of the input.
"""


class Control:
    """The calls that may come in."""

    def __init__(self, fake: FakeDCache, publisher: KafkaPublisher | None) -> None:
        self._fake = fake
        self._publisher = publisher

    def upload(
        self, path: str, data: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """``FakeDCache.upload``; ``data`` in base64."""
        content = None if data is None else base64.b64decode(data)
        pnfsid = self._fake.upload(path, content, **options)
        version = self._fake.files[path]
        return {"pnfsid": pnfsid, "size": version.size, "adler32": version.adler32}

    def add_fault(self, kind: str, glob: str = "*", **options: Any) -> None:
        self._fake.faults.add(kind, glob, **options)

    def clear_faults(self) -> None:
        self._fake.faults.clear()

    def fired(self) -> dict[str, int]:
        """How often each kind of fault has struck."""
        return {kind.value: count for kind, count in self._fake.faults.fired.items()}

    def files(self) -> dict[str, Any]:
        """Size, Adler-32 and pnfsid of every file, by path."""
        return {
            path: {
                "size": version.size,
                "adler32": version.adler32,
                "pnfsid": version.pnfsid,
            }
            for path, version in self._fake.files.items()
        }

    def counters(self) -> dict[str, int]:
        return dict(self._fake.requests.counters)

    def requests(
        self, method: str = "", path: str = "", server: str = ""
    ) -> list[dict[str, Any]]:
        return [
            {
                "at": seen.at,
                "server": seen.server,
                "method": seen.method,
                "path": seen.path,
                "who": seen.who,
                "connection": seen.connection,
                "status": seen.status,
                "sent": seen.sent,
                "fault": seen.fault,
            }
            for seen in self._fake.requests.of(method, path, server)
        ]

    def populate(self, directory: str, count: int, **options: Any) -> int:
        return len(self._fake.populate(directory, count, **options))

    def tell(self, paths: list[str]) -> None:
        """Publish the events of uploads that are there."""
        for path in paths:
            self._fake.tell(path)

    def replace(self, path: str, **options: Any) -> str:
        return self._fake.replace(path, **options)

    def remove(self, path: str) -> None:
        self._fake.remove(path)

    def move(self, source: str, target: str) -> None:
        self._fake.move(source, target)

    def set_digest(self, path: str, adler32: int | None) -> None:
        self._fake.set_digest(path, adler32)

    def set_quota(self, directory: str, available: int, used: int = 0) -> None:
        self._fake.set_quota(directory, available, used)

    def deletions(self) -> list[dict[str, Any]]:
        return [asdict(deletion) for deletion in self._fake.deletions]

    def close_connections(self) -> None:
        self._fake.close_connections()

    def flush(self) -> int:
        """Wait until the broker has all events; how many there were."""
        if self._publisher is not None:
            self._publisher.flush()
        return self._fake.site.billing.published

    def calls(self) -> dict[str, Callable[..., Any]]:
        names = (
            "upload",
            "add_fault",
            "clear_faults",
            "fired",
            "files",
            "counters",
            "requests",
            "populate",
            "tell",
            "replace",
            "remove",
            "move",
            "set_digest",
            "set_quota",
            "deletions",
            "close_connections",
            "flush",
        )
        return {name: getattr(self, name) for name in names}


def main() -> None:
    """Serve until stdin closes."""
    options = _parser().parse_args()
    pki = make_pki(options.pki)
    publisher = None
    if options.bootstrap:
        publisher = KafkaPublisher(options.bootstrap, options.topic)
    fake = FakeDCache(
        pki,
        publish=publisher,
        root=options.root,
        mode=options.mode,
        seed=options.seed,
        pools=options.pools,
        pool_tls=not options.plain_pools,
        mover_slots=options.mover_slots,
        port=options.port,
    )
    control = Control(fake, publisher)
    with fake:
        serve(_greeting(fake, pki), control.calls())
    control.flush()


def _greeting(fake: FakeDCache, pki: Pki) -> dict[str, str]:
    return {
        "door_url": fake.door_url,
        "root": fake.root,
        "capath": str(pki.capath),
        "proxy": str(pki.proxy),
        "user_dn": pki.user_dn,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dcmirror.testing.fake_dcache",
        description="A dCache to test with: a WebDAV door, pools and their events.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pki", type=Path, required=True, help="directory to make certificates in")
    add("--bootstrap", help="Kafka brokers to publish to; default: nowhere")
    add("--topic", default="billing")
    add("--root", default=ROOT, help="namespace directory that the door shows as /")
    add("--mode", choices=[mode.value for mode in Mode], default="services")
    add("--seed", type=int, default=0)
    add("--pools", type=int, default=2)
    add("--plain-pools", action="store_true", help="redirect to http, not https")
    add("--mover-slots", type=int, help="movers at a time in each pool")
    add("--port", type=int, default=0, help="of the door; 0: any")
    return parser
