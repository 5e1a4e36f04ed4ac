"""What Elasticsearch was told, beside what the run's own books say."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deployment import Deployment, Running

if TYPE_CHECKING:
    from servers.elasticsearch import Elasticsearch

Document = dict[str, Any]

_UPLOAD = re.compile(
    r"\[UPLOAD\] New file.*? : (?P<path>.*) \((?P<task>[0-9a-f-]{36})\)"
)


class Told:
    """All documents of one namespace, fetched once."""

    def __init__(self, server: Elasticsearch, namespace: str) -> None:
        hits = list(server.documents(f"logs-dcmirror.*-{namespace}"))
        self.ids = Counter(hit["_id"] for hit in hits)
        self.documents: list[Document] = [hit["_source"] for hit in hits]

    def of(self, action: str) -> list[Document]:
        """The events of one name."""
        return [d for d in self.documents if d["event"]["action"] == action]

    def twice(self) -> list[str]:
        """Ids of lines, and of outcomes, that are there more than once."""
        events = Counter(d["event"]["id"] for d in self.documents if "id" in d["event"])
        return [name for name, n in (self.ids + events).items() if n > 1]

    def finished(self, command: str) -> dict[str, list[Document]]:
        """What became of each task under one command."""
        found: dict[str, list[Document]] = defaultdict(list)
        for document in self.of("transfer-finished"):
            if document["process"]["name"] == f"dcmirror {command}":
                found[document["dcmirror"]["transfer"]["id"]].append(document)
        return found

    def dropped(self) -> Counter[str]:
        """Lines that the journal says it lost, by kind."""
        lost: Counter[str] = Counter()
        for document in self.of("journal-dropped"):
            lost.update(document["dcmirror"]["spool"]["dropped_by_kind"])
        return lost


def bytes_of(documents: Iterable[Document]) -> int:
    """Received by the attempts that ended these jobs well."""
    return sum(
        d["dcmirror"]["transfer"]["bytes"]
        for d in documents
        if d["dcmirror"]["transfer"]["state"] == "mirrored"
    )


def accepted(running: Running) -> dict[str, str]:
    """Task to path of every job that the human log names."""
    return {m["task"]: m["path"] for m in _UPLOAD.finditer(running.log)}


def last_lines(running: Running, tasks: Iterable[str]) -> dict[str, str]:
    """The human log's last word on these tasks, for the report of a failure."""
    wanted = set(tasks)
    found = dict.fromkeys(wanted, "")
    for line in running.log.splitlines():
        task = line[-37:-1]
        if task in wanted:
            found[task] = line
    return found


def settled(deployment: Deployment) -> Counter[str]:
    """How many records of Kafka were settled as what, by the catalogue."""
    total: Counter[str] = Counter()
    for (counts,) in deployment.query("SELECT counts FROM spans"):
        total.update(json.loads(counts))
    return total
