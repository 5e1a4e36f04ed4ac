"""The demo: from nothing to files arriving, with faults, a killed worker, and a proof.

``scripts/demo`` runs it.  The broker and the dCache are fakes of this package; the
daemon between them is the real one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dcmirror.testing.demo_proof import Comparison, compare
from dcmirror.testing.demo_screen import Screen
from dcmirror.testing.demo_site import DemoSite
from dcmirror.testing.demo_tree import FOLDER, Tree, Upload, plan

_UPLOAD_SECONDS = 12.0
_TICK_SECONDS = 0.2
_FEWEST_FILES = 20


class DemoFailed(Exception):
    """Something is not as it was promised; the message says what."""


class Demo:
    """One run."""

    def __init__(
        self, site: DemoSite, tree: Tree, screen: Screen, limit: float
    ) -> None:
        self._site = site
        self._tree = tree
        self._screen = screen
        self._limit = limit
        self._pnfsids: dict[str, str] = {}
        self._uploaded = 0
        self._shown_at = 0.0
        self._victim: tuple[str, int] | None = None
        self._is_kill_due = False
        self._first_upload = 0.0
        self._settled_after = 0.0

    def run(self, *, faults: bool) -> Comparison:
        """All of it, until the comparison of both trees."""
        if faults:
            self._misbehave()
        pid = self._site.start_watch()
        self._screen.say(f"dcmirror watch runs (process {pid})")
        self._screen.say(f"  dcmirror watch --config {self._site.config}")
        self._wait_for_start()
        with self._screen:
            self._upload_everything(kill=faults)
            self._wait_until_settled()
        self._stop()
        failed = self._site.failures()
        self._summary(failed)
        if faults:
            self._replay(failed)
        self._screen.say("comparing both trees, byte by byte")
        return compare(self._tree.final, self._site.mirror)

    def _misbehave(self) -> None:
        """A few of everything that goes wrong; the first rule that fits decides."""
        add = self._site.dcache.add_fault
        root = self._site.dcache.root
        add("status", f"{root}{FOLDER}/{self._tree.forbidden}", status=403)
        add("status", status=429, retry_after="1", times=3)
        add("redirect-to", url="ftp://elsewhere.example.org/x", times=1)
        add("reset", times=2)
        add("pool-refused", times=1)
        add("status", status=404, probability=0.06, per_path=1)
        add("status", status=500, probability=0.04, per_path=1)
        add("stall-body", f"*{self._tree.biggest}", times=1, seconds=3.0, after=10**6)
        add("stall-body", times=2, seconds=2.0, after=1000)
        add("reset-body", times=3, after=20_000)
        add("short-body", probability=0.03, per_path=1, count=1)
        add("flip", probability=0.03, per_path=1, after=100)
        add("digest-unpadded", probability=0.2)
        add("digest-upper", probability=0.2)

    def _wait_for_start(self) -> None:
        # a group that is slow to form is no reason to give up: the records wait
        end = time.monotonic() + 30.0
        while not self._site.reads() and time.monotonic() < end:
            self._tick()
        self._screen.say("it is a member of the consumer group and waits for uploads")

    def _upload_everything(self, *, kill: bool) -> None:
        self._first_upload = time.monotonic()
        pace = _UPLOAD_SECONDS / len(self._tree.uploads)
        for number, upload in enumerate(self._tree.uploads):
            self._upload(upload)
            self._is_kill_due = kill and number > len(self._tree.uploads) / 3
            while time.monotonic() < self._first_upload + number * pace:
                self._tick()
        for upload in self._tree.unwanted:
            self._site.dcache.upload(
                self._path(upload.relative), size=upload.size, seed=upload.seed
            )
        for path in self._tree.strangers:
            self._site.dcache.upload(f"{self._site.dcache.root}{path}", size=10)
        self._site.dcache.flush()
        uploads = len(self._tree.uploads)
        again = uploads - len(self._tree.final)
        self._screen.say(
            f"uploaded {uploads} files, {self._tree.total_bytes / 1e6:.0f} MB; "
            f"{again} of them overwrite others"
        )

    def _upload(self, upload: Upload) -> None:
        answer = self._site.dcache.upload(
            self._path(upload.relative), size=upload.size, seed=upload.seed
        )
        self._pnfsids[upload.relative] = answer["pnfsid"]
        self._uploaded = len(self._pnfsids)

    def _kill(self) -> None:
        self._victim = self._site.kill_a_worker()
        if self._victim is not None:
            name, pid = self._victim
            self._screen.say(f"kill -9 of {name} (process {pid}), amid its transfers")

    def _wait_until_settled(self) -> None:
        self._wait(lambda: not self._open(), self._limit, "all files' outcomes")
        self._settled_after = time.monotonic() - self._first_upload
        self._screen.say("every file is in the mirror or in failed.csv")
        self._wait(lambda: self._site.lag() == 0, 60.0, "the last offsets' commit")
        self._screen.say("every record is committed")

    def _open(self) -> list[str]:
        """Files that have no outcome yet, of their newest version."""
        copies, failed = self._site.copies(self._pnfsids), self._site.failures()
        return [
            relative
            for relative, pnfsid in self._pnfsids.items()
            if copies.get(relative) != pnfsid and relative not in failed
        ]

    def _stop(self) -> None:
        status = self._site.stop_watch()
        self._screen.say(f"TERM: dcmirror watch left with exit status {status}")
        if status:
            raise DemoFailed(f"dcmirror watch ended with exit status {status}")

    def _summary(self, failed: dict[str, str]) -> None:
        status = self._site.status()
        moved = status.get("bytes_mirrored", 0)
        rate = moved * 8 / 1e6 / self._settled_after
        skipped = status.get("skipped", {})
        struck = self._site.dcache.fired()
        self._screen.table(
            "What dcmirror says it did",
            {
                "mirrored": f"{status.get('mirrored', 0)} files, {moved / 1e6:.1f} MB",
                "in": f"{self._settled_after:.1f} s, {rate:.0f} Mbps "
                f"(uploading took {_UPLOAD_SECONDS:.0f} s of it)",
                "retries": str(status.get("retries", 0)),
                "skipped": _counts(skipped),
                "failed": _counts(status.get("failures", {})),
                "workers restarted": str(status.get("worker_restarts", 0)),
                "faults that struck": _counts(struck),
                "failed.csv": ", ".join(f"{k} ({v})" for k, v in failed.items()) or "-",
            },
        )

    def _replay(self, failed: dict[str, str]) -> None:
        if set(failed) != {self._tree.forbidden}:
            raise DemoFailed(f"failed.csv has other rows than expected: {failed}")
        self._site.dcache.clear_faults()
        self._screen.say("the door is well again: dcmirror replay failed.csv")
        status = self._site.replay()
        rows = self._site.failures()
        self._screen.say(f"replay: exit status {status}, {len(rows)} rows remain")
        if status or rows:
            raise DemoFailed(f"replay: exit status {status}, rows {rows}")

    def _path(self, relative: str) -> str:
        return f"{self._site.dcache.root}{FOLDER}/{relative}"

    def _wait(self, claim: Callable[[], bool], limit: float, what: str) -> None:
        end = time.monotonic() + limit
        while not claim():
            if time.monotonic() > end:
                raise DemoFailed(f"{what}: not within {limit:.0f} s")
            self._tick()

    def _tick(self) -> None:
        """A moment passes; the screen follows it."""
        ended = self._site.watch_status()
        if ended is not None:
            raise DemoFailed(f"dcmirror watch ended with exit status {ended}")
        if self._is_kill_due and self._victim is None:
            self._kill()
        if self._uploaded and time.monotonic() - self._shown_at > 0.5:
            self._shown_at = time.monotonic()
            settled = self._uploaded - len(self._open())
            self._screen.show(self._uploaded, settled, self._site.status())
        time.sleep(_TICK_SECONDS / 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when both trees are equal."""
    options = _parser().parse_args(arguments)
    # TERM too shall leave no process behind
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="dcmirror-demo-", dir=options.directory))
    tree = plan(options.files, options.seed)
    screen = Screen(len(tree.final), plain=options.plain)
    screen.say("starting a mock Kafka broker and a fake dCache")
    site = DemoSite(directory)
    screen.say(f"broker {site.broker.bootstrap}, door {site.dcache.door_url}")
    try:
        demo = Demo(site, tree, screen, options.limit)
        comparison = demo.run(faults=not options.no_faults)
    except DemoFailed as exc:
        return _failed(screen, site, [str(exc)])
    except KeyboardInterrupt:
        return _failed(screen, site, ["interrupted"])
    finally:
        site.close()
    return _verdict(screen, site, comparison, keep=options.keep)


def _verdict(
    screen: Screen, site: DemoSite, comparison: Comparison, *, keep: bool
) -> int:
    screen.table(
        "What the disk says",
        {
            "files": str(comparison.files),
            "bytes": f"{comparison.bytes:,}",
            "SHA-256 of the source tree": comparison.source,
            "SHA-256 of the mirror": comparison.mirror,
            "verdict": "equal" if comparison.is_equal else "DIFFERENT",
        },
    )
    if not comparison.is_equal:
        return _failed(screen, site, comparison.faults[:20])
    if keep:
        screen.say(f"kept: {site.directory}")
    else:
        shutil.rmtree(site.directory)
        screen.say(f"removed {site.directory} (--keep leaves it)")
    return 0


def _failed(screen: Screen, site: DemoSite, reasons: Sequence[str]) -> int:
    for reason in reasons:
        screen.say(f"FAILED: {reason}")
    screen.say(f"see {site.log} and the rest of {site.directory}")
    return 1


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{name} {count}" for name, count in sorted(counts.items()) if count]
    return ", ".join(shown) or "-"


def _files(text: str) -> int:
    if not text.isdecimal() or int(text) < _FEWEST_FILES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number from {_FEWEST_FILES} on, which its faults need"
        )
    return int(text)


def _directory(text: str) -> Path:
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise argparse.ArgumentTypeError(f"{text}: {exc.strerror}") from exc
    if not os.access(path, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text}: may not be written")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="dcmirror at work between a mock Kafka broker and a fake dCache: "
        "uploads a tree while the daemon runs, makes the door misbehave, kills a "
        "worker, replays what failed, and compares both trees.",
    )
    add = parser.add_argument
    add("--files", type=_files, default=300, help="how many (default: 300)")
    add("--seed", type=int, default=1, help="another seed, another tree (default: 1)")
    add("--no-faults", action="store_true", help="all goes well, nobody is killed")
    add("--limit", type=float, default=150.0, help="seconds to wait for outcomes")
    add("--directory", type=_directory, help="where to make the demo's own directory")
    add("--keep", action="store_true", help="leave that directory in place")
    add("--plain", action="store_true", help="lines instead of bars")
    return parser


if __name__ == "__main__":
    sys.exit(main())
