"""The dashboards: which panels, searches and notes stand where, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from dcmirror.core.kibana_columns import Panel, Where, action
from dcmirror.core.kibana_health_panels import DAEMON, STORY
from dcmirror.core.kibana_panels import FAILED, NUMBERS, OVER_TIME
from dcmirror.core.kibana_trouble_panels import TROUBLE

PANELS: dict[str, Panel] = {
    panel.name: panel for panel in (*NUMBERS, *OVER_TIME, *TROUBLE, *STORY, *DAEMON)
}


@dataclass(frozen=True, slots=True)
class Search:
    """A saved search: events as rows of chosen columns."""

    name: str
    title: str
    where: Where
    columns: tuple[str, ...]
    about: str = ""
    newest_first: bool = True

    @property
    def sort(self) -> list[list[str]]:
        """The fields to sort by, each with its direction."""
        direction = "desc" if self.newest_first else "asc"
        return [["@timestamp", direction], ["event.sequence", direction]]


@dataclass(frozen=True, slots=True)
class Note:
    """A panel of text."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Control:
    """A drop-down above a dashboard that filters all of it."""

    name: str
    title: str
    field: str


@dataclass(frozen=True, slots=True)
class Row:
    """Things side by side: the name of each and its width; the widths make 48."""

    height: int
    items: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What a person opens."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]
    controls: tuple[Control, ...]
    time_from: str = "now-24h"
    refresh_seconds: int = 60


SEARCHES: dict[str, Search] = {
    search.name: search
    for search in (
        Search(
            "search-failures",
            "dcmirror: last failures",
            FAILED,
            (
                "file.path",
                "error.type",
                "error.message",
                "dcmirror.transfer.attempt",
                "source.address",
                "dcmirror.transfer.id",
            ),
            "Jobs given up, the newest first: what failed.csv has.",
        ),
        Search(
            "search-rejected",
            "dcmirror: rejected records",
            action("event-rejected"),
            (
                "event.reason",
                "dcmirror.kafka.topic",
                "dcmirror.kafka.partition",
                "dcmirror.kafka.offset",
                "dcmirror.kafka.excerpt",
            ),
            "Records that are no dCache events, with their first bytes.",
        ),
        Search(
            "search-holds",
            "dcmirror: holds",
            action("hold-began", "hold-ended"),
            (
                "event.action",
                "dcmirror.hold.kind",
                "dcmirror.hold.host",
                "event.reason",
                "event.duration",
                "dcmirror.daemon",
            ),
            "When work waited, for what, and for how long.",
        ),
        Search(
            "search-drops",
            "dcmirror: events lost",
            action("journal-dropped"),
            ("dcmirror.spool.dropped", "event.reason", "message", "dcmirror.daemon"),
            "Lines of a journal that could not be written or kept.",
        ),
        Search(
            "search-story",
            "dcmirror: events of a file",
            action(
                "upload-seen",
                "event-skipped",
                "transfer-step",
                "transfer-retry",
                "transfer-parked",
                "transfer-finished",
            ),
            (
                "event.action",
                "message",
                "dcmirror.transfer.attempt",
                "source.address",
                "http.response.status_code",
                "error.message",
                "dcmirror.transfer.id",
            ),
            "Filter on a task or a path, and read from the top.",
            newest_first=False,
        ),
        Search(
            "search-daemon",
            "dcmirror: the daemons' own events",
            action(
                "watch-started",
                "watch-stopping",
                "watch-stopped",
                "rebalance",
                "offsets-lost",
                "intake-trouble",
                "intake-recovered",
                "child-died",
                "child-silent",
                "configuration-changed",
                "journal-dropped",
                "note",
            ),
            ("event.action", "log.level", "message", "dcmirror.daemon"),
            "All but the transfers and the samples of health.",
        ),
    )
}

_LINKS = (
    "[Overview](#/view/dcmirror-overview) · [One file](#/view/dcmirror-file) · "
    "[Daemon health](#/view/dcmirror-health)"
)

NOTES: dict[str, Note] = {
    note.name: note
    for note in (
        Note(
            "note-overview",
            "About the overview",
            f"**dcmirror** {_LINKS}\n\n"
            "Top row: how well it goes. The four that should be zero are below the "
            "curves; red means that somebody must act. A panel's *i* says what it "
            "means. Times are those of the events: what is shipped late still lies "
            "where it happened. **Green proves nothing when nobody reports**: look at "
            "*Daemons that reported* on the health dashboard.",
        ),
        Note(
            "note-file",
            "About one file's story",
            f"**dcmirror** {_LINKS}\n\n"
            "1. Choose the **path** above (type a part of it); *Tasks* lists its "
            "uploads.\n"
            "2. Choose the **task** (the UUID on each line of the human log), and "
            "clear the path: the steps of a copy carry the task only.\n"
            "3. Read the events below, the oldest first. Widen the time if a file is "
            "missing.",
        ),
        Note(
            "note-links",
            "Other dashboards",
            f"**dcmirror** {_LINKS}\n\n"
            "What each number asks of you stands at the end of this page.",
        ),
        Note(
            "note-health",
            "About daemon health",
            f"**dcmirror** {_LINKS}\n\n"
            "| seen | means | do |\n"
            "|---|---|---|\n"
            "| a daemon not in 5 minutes | it is dead, or its logger cannot ship | "
            "`dcmirror status` on its host |\n"
            "| lag grows | fewer copies than uploads, or a hold | holds, then "
            "*Where the time goes* |\n"
            "| ready grows, running at its limit | dcmirror is the bottleneck | "
            "`maxdownloads` |\n"
            "| holds | work waits for a cause | the search of holds names it |\n"
            "| credential falls below 6 h | the renewal is broken | renew the proxy |\n"
            "| events lost | the journal's disk is full | free space |",
        ),
    )
}

_INSTANCES = (
    Control("host", "Host", "host.name"),
    Control("instance", "Instance", "service.node.name"),
)

DASHBOARDS: tuple[Dashboard, ...] = (
    Dashboard(
        "overview",
        "dcmirror overview",
        "How well files are mirrored, how fast, and what stands in the way.",
        (
            Row(5, (("note-overview", 48),)),
            Row(
                6,
                (
                    ("efficiency", 8),
                    ("files", 8),
                    ("bytes", 8),
                    ("failed", 8),
                    ("delay", 8),
                    ("requests-per-file", 8),
                ),
            ),
            Row(12, (("outcomes-over-time", 24), ("bytes-over-time", 24))),
            Row(12, (("delay-over-time", 24), ("lag-over-time", 24))),
            Row(12, (("throughput", 16), ("duration", 16), ("phases", 16))),
            Row(
                6,
                (
                    ("checksum-mismatches", 12),
                    ("rejected", 12),
                    ("offsets-lost", 12),
                    ("journal-drops", 12),
                ),
            ),
            Row(13, (("errors", 24), ("retries", 24))),
            Row(13, (("http-status", 24), ("http-status-hosts", 24))),
            Row(13, (("holds-over-time", 16), ("holds", 32))),
            Row(13, (("sources", 32), ("requests-over-time", 16))),
            Row(14, (("skipped", 12), ("search-failures", 36))),
        ),
        _INSTANCES,
    ),
    Dashboard(
        "file",
        "dcmirror: one file's story",
        "All that is known of one file, by its path or its task.",
        (
            Row(7, (("note-file", 48),)),
            Row(11, (("tasks", 48),)),
            Row(11, (("attempts", 48),)),
            Row(22, (("search-story", 48),)),
        ),
        (
            Control("path", "Path", "file.path"),
            Control("task", "Task", "dcmirror.transfer.id"),
        ),
        time_from="now-7d",
        refresh_seconds=0,
    ),
    Dashboard(
        "health",
        "dcmirror daemon health",
        "Whether the daemons live, have room, and may go on.",
        (
            Row(4, (("note-links", 48),)),
            Row(
                6,
                (
                    ("daemons", 12),
                    ("newest-sample", 12),
                    ("children-died", 12),
                    ("credential-left", 12),
                ),
            ),
            Row(11, (("hosts", 48),)),
            Row(12, (("samples-over-time", 24), ("daemon-events", 24))),
            Row(12, (("transfers-running", 24), ("jobs-over-time", 24))),
            Row(12, (("lag-total", 24), ("credential-over-time", 24))),
            Row(12, (("spool-over-time", 24), ("spool-age", 24))),
            Row(12, (("free-space", 24), ("oldest-job", 24))),
            Row(13, (("holds", 24), ("hosts-asked", 24))),
            Row(13, (("children", 24), ("search-drops", 24))),
            Row(15, (("search-daemon", 24), ("note-health", 24))),
        ),
        _INSTANCES,
        time_from="now-6h",
    ),
)
