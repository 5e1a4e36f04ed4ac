"""A fake dCache, a mirror and a worker between them, and short words for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.core.jobs import AttemptResult, Job, ResultKind
from dcmirror.processes.worker import Worker
from dcmirror.testing.fake_dcache import FakeDCache
from worker_harness import ROOT, Talk, make_job

MIB = 1024 * 1024


@dataclass
class Site:
    """A fake dCache, a mirror and a worker between them."""

    dcache: FakeDCache
    mirror: Path
    talk: Talk
    worker: Worker

    def upload(self, name: str, data: bytes | None = None, **options: Any) -> Job:
        """Upload a file; the job that its event would become."""
        pnfsid = self.dcache.upload(f"{ROOT}/{name}", data, **options)
        size = len(data) if data is not None else options["size"]
        return make_job(self.dcache.door_url, name, size=size, pnfsid=pnfsid)

    def job(self, name: str, **fields: Any) -> Job:
        return make_job(self.dcache.door_url, name, **fields)

    def copy(self, job: Job) -> AttemptResult:
        return self.talk.run_one(job)

    def content(self, name: str) -> bytes:
        return (self.mirror / name).read_bytes()

    def mark(self, name: str) -> Any:
        return self.store.look(name).mark

    @property
    def store(self) -> MirrorStore:
        return self.worker.store

    def asked(self) -> list[tuple[str, str, int]]:
        return [
            (seen.server[:4], seen.method, seen.status)
            for seen in self.dcache.requests.all()
        ]

    def forget_requests(self) -> None:
        self.dcache.requests.clear()

    def leftovers(self) -> list[str]:
        return [path.name for path in self.mirror.rglob("*.part")]


def configured(**settings: Any) -> pytest.MarkDecorator:
    """The site's worker gets these settings."""
    return pytest.mark.parametrize("site", [settings], indirect=True, ids=["set"])


def fake(**options: Any) -> pytest.MarkDecorator:
    """The site's dCache is made with these options."""
    return pytest.mark.parametrize("dcache", [options], indirect=True, ids=["fake"])


def failure_of(result: AttemptResult) -> Any:
    assert result.kind is ResultKind.FAILED, result
    assert result.failure is not None
    return result.failure
