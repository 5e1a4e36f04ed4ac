"""A configured cleanup of a fake dCache, its books and its mirror."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from copies import RAW, copy_here
from dcmirror import config
from dcmirror.adapters.catalogue_deletions import DeletionBook, Wish
from dcmirror.commands.audit import audit
from dcmirror.commands.audit_options import AuditOptions
from dcmirror.commands.cleanup import CleanupOptions, cleanup
from dcmirror.settings import Settings
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki

PROVED = {"allowed": True, "max_fraction": 1.0, "requests_per_second": 5000.0}


@dataclass
class Site:
    """A configured cleanup, its books and its mirror."""

    source: FakeDCache
    settings: Settings
    state: Path
    mirror: Path

    def set(self, **over: Any) -> None:
        """Change [cleanup]."""
        changed = replace(self.settings.cleanup, **over)
        self.settings = replace(self.settings, cleanup=changed)

    def upload(self, *names: str, size: int = 100) -> list[str]:
        """Files at the source; their paths."""
        paths = [f"{RAW}/{name}" for name in names]
        for number, path in enumerate(paths):
            self.source.upload(path, size=size, seed=number)
        return paths

    def copies(self, *names: str, size: int = 100, **over: Any) -> None:
        """Files at the source, and proved copies of them here."""
        paths = self.upload(*names, size=size)
        copy_here(self.mirror, self.state / "catalogue.db", self.source, paths, **over)

    def run(self, **over: Any) -> int:
        """The command; its exit status."""
        return int(cleanup(CleanupOptions(settings=self.settings, **over)))

    def audit(self, **over: Any) -> int:
        """An audit of it; its exit status."""
        options = AuditOptions(
            settings=self.settings, now=time.time(), asks_kafka=False, **over
        )
        return int(audit(options))

    def spoil(self, name: str) -> None:
        """Damage a copy; size, time and mark stay."""
        path = self.mirror / name
        before = path.stat()
        with path.open("r+b") as file:
            first = file.read(1)[0]
            file.seek(0)
            file.write(bytes([first ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def book(self) -> DeletionBook:
        """The catalogue; to be closed."""
        return DeletionBook(self.state / "catalogue.db")

    def intend(self, name: str, isolated: str | None) -> None:
        """An intent without a result, as a killed run leaves it."""
        book = self.book()
        (copy,) = book.lookup([name]).values()
        book.intend([Wish(copy, isolated)], time.time(), str(self.mirror))
        book.close()

    def left(self) -> set[str]:
        """Names at the source."""
        return {path.removeprefix(RAW + "/") for path in self.source.files}

    def results(self) -> list[tuple[str, str | None, str | None]]:
        """Path, result and error of each deletion."""
        return self.query("SELECT relative, result, error FROM deletions")

    def query(self, sql: str) -> list[Any]:
        """Ask the catalogue."""
        with closing(sqlite3.connect(self.state / "catalogue.db")) as database:
            return database.execute(sql).fetchall()

    def events(self) -> list[dict[str, Any]]:
        """What the journal has."""
        segments = sorted((self.state / "journal").glob("*-*-*.ndjson"))
        return [
            json.loads(line)
            for segment in segments
            for line in segment.read_text().splitlines()
        ]


def make_site(place: Path, source: FakeDCache, pki: Pki) -> Site:
    """One that may delete at once."""
    mirror = place / "mirror"
    mirror.mkdir()
    text = f"""
[kafka]
topic = "t"
servers = ["127.0.0.1:9"]
consumergroup = "g"
[dcache]
url = "{source.door_url}"
pool = "{source.root}"
folder = "/exp/raw"
[local]
proxy = "{pki.proxy}"
capath = "{pki.capath}"
downloadfolder = "{mirror}"
[state]
directory = "{place / "state"}"
"""
    settings = config.parse(text, "test", {})
    site = Site(source, settings, place / "state", mirror)
    site.set(**PROVED)
    return site
