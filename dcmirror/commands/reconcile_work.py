"""What a reconcile compares, and what it knows of it at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.catalogue_names import CatalogueNames
from dcmirror.adapters.door_client import DoorClient, door_options
from dcmirror.adapters.findings import FindingStore
from dcmirror.adapters.mirror_scan import MirrorScan
from dcmirror.adapters.pace import Pace
from dcmirror.adapters.state_directory import StateDirectory
from dcmirror.core.differences import Rules
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.escapes import shown
from dcmirror.core.filters import Rules as Filter
from dcmirror.core.findings import CURED, Impact, Summary
from dcmirror.core.jobs import Job
from dcmirror.core.listing import Entry
from dcmirror.core.name_list import BadLine, NamedFile
from dcmirror.core.paths import PathMap
from dcmirror.core.tally import Tally
from dcmirror.processes.conclusion import Conclusion
from dcmirror.processes.pages import NamedPages, WalkPages
from dcmirror.processes.patience import Patience
from dcmirror.processes.set_apart import look_again
from dcmirror.processes.survey import Source, Survey, SurveyPlan
from dcmirror.processes.walk import Walk
from dcmirror.processes.witnesses import Witnesses
from dcmirror.settings import Settings

#: The source's clock may be ahead of ours by so much (seconds).
_CLOCK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is compared, and with which files.  Times in seconds."""

    settings: Settings
    state: StateDirectory
    path_map: PathMap
    filter: Filter
    root: str
    store: FindingStore
    journal: Path | None
    started: float
    grace: float
    trusts_size: bool
    limit: int | None
    instance: str | None
    verbosity: int
    names: Iterator[NamedFile | BadLine] | None
    refuse: Callable[[int, str], None]

    @property
    def is_whole(self) -> bool:
        """Whether all of the folder is compared, not a part or a list of it."""
        return self.names is None and self.root == self.path_map.under(None)

    @property
    def settled_before(self) -> float:
        """What changed later is left to its event."""
        return self.started - self.grace


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended; ``why`` says what kept it from its end."""

    summary: Summary
    stopped_by: int | None = None
    why: str = ""


class Comparison:
    """Source against mirror, once.  ``stop`` ends it within a second or two.

    Use it as a context manager: it has threads and connections.
    """

    def __init__(self, work: Work, *, is_dry: bool) -> None:
        self.work = work
        self.stop = threading.Event()
        self.tally = Tally()
        self._is_dry = is_dry
        self._began = time.monotonic()
        self._is_concluded = False
        self._garbage = self._old_names = self._asked = 0
        settings = work.settings
        self._options = door_options(settings)
        self._pace = Pace(settings.reconcile.requests_per_second, stop=self.stop)
        self._patience = Patience(say, self.stop, proxy=self._options.proxy)
        self._walk: Walk | None = None
        self._source = self._make_source()
        self.expected = self._expect()

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        if self._walk is not None:
            self._walk.close()

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on with a run that was interrupted."""
        return self._walk is not None and self._walk.is_resumed

    @property
    def what(self) -> str:
        """What is compared, in a few words."""
        what = "a list of files" if self.work.names is not None else "the source"
        return f"compares {what} below {shown(self.work.root)} with the mirror"

    def survey(self, offer: Callable[[Job], None] | None) -> Survey:
        """What compares page by page; ``offer`` takes the jobs, None: no copies."""
        work, settings = self.work, self.work.settings
        survey = Survey(
            self._plan(),
            self._source,
            work.store,
            lambda: Catalogue(work.state.catalogue),
            MirrorScan(settings.local.downloadfolder),
            self.stop,
            offer,
        )
        survey.refuse = self._refuse
        return survey

    def run(self, survey: Survey) -> None:
        """List and compare; then judge what needs the whole.

        Raises:
            DcmirrorError: it cannot go on; what was found stays for the next run.
        """
        survey.run()
        if not survey.is_complete:
            return
        client = self._client()
        try:
            self._draw(client)
            self._is_concluded = True
        except DoorStopped:
            return
        finally:
            self._asked += client.requests
            client.close()

    def end(self, survey: Survey, stopped_by: int | None) -> Ended:
        """How it ended, as far as it has."""
        why = ""
        if stopped_by is not None:
            why = f"stopped by {signal.Signals(stopped_by).name}"
        elif survey.at_limit:
            why = "the limit is reached"
        elif not self._is_concluded:
            why = "not all was compared"
        return Ended(self._summary(is_complete=not why), stopped_by, why)

    # -- where the names come from ------------------------------------------------

    def _make_source(self) -> Source:
        work, parallel = self.work, self.work.settings.reconcile.parallel
        if work.names is not None:
            return NamedPages(
                work.names,
                self._client,
                parallel,
                self._patience,
                self.stop,
                self._refuse,
            )
        self._walk = Walk(
            self._client,
            work.root,
            parallel,
            self._patience,
            self.stop,
            work.journal,
            self._is_excluded,
        )
        return WalkPages(self._walk)

    def _is_excluded(self, directory: str) -> bool:
        relative = self.work.path_map.relative(directory) or ""
        return self.work.filter.excludes_all_below(relative)

    def _client(self) -> DoorClient:
        return DoorClient(self._options, self._pace)

    def _refuse(self, line: int, why: str) -> None:
        self._garbage += 1
        self.work.refuse(line, why)

    def _expect(self) -> int:
        if self.work.names is not None:
            return 0
        with CatalogueNames(self.work.state.catalogue) as names:
            return names.count()

    # -- what is compared ---------------------------------------------------------

    def _plan(self) -> SurveyPlan:
        work, settings = self.work, self.work.settings
        return SurveyPlan(
            path_map=work.path_map,
            filter=work.filter,
            rules=self._rules,
            settled_before=work.settled_before,
            root_bytes=len(os.fsencode(settings.local.downloadfolder)),
            limit=work.limit,
        )

    def _rules(self) -> Rules:
        """What counts now: a long run must not judge what came meanwhile."""
        work, now = self.work, time.time()
        return Rules(
            fresh_since=now - work.grace,
            fresh_until=now + max(work.grace, _CLOCK_SECONDS) if work.grace else now,
            trusts_size=work.trusts_size,
            leaves_missing=work.settings.destination.missing == "leave",
        )

    def _draw(self, client: DoorClient) -> None:
        def ask(path: str) -> Entry | DoorError | None:
            try:
                return self._patience.call(client.look, path)
            except DoorStopped:
                raise
            except DoorError as error:
                if error.concerns_all:
                    raise
                return error

        work = self.work
        store, paths = work.store, work.path_map
        look_again(store, ask)
        with CatalogueNames(work.state.catalogue, work.started) as names:
            witnesses = None
            if work.names is None:
                witnesses = Witnesses(store, names, paths, ask, work.settled_before)
            conclusion = Conclusion(store, names, paths, ask, witnesses)
            conclusion.draw()
            self._old_names = conclusion.old_names

    # -- what came of it ----------------------------------------------------------

    def _summary(self, *, is_complete: bool) -> Summary:
        directories, counts = self.work.store.counts()
        found, size, remaining, outcomes = (Counter[str]() for _ in range(4))
        for (kind, outcome), (number, amount) in self.work.store.sums().items():
            found[kind] += number
            size[kind] += amount
            remaining[kind] += 0 if outcome in CURED else number
            outcomes[outcome] += number
        del outcomes[""]
        return Summary(
            is_complete=is_complete,
            is_dry=self._is_dry,
            directories=0 if self.work.names is not None else directories,
            files=counts.get("files", 0),
            size=counts.get("bytes", 0),
            unlisted=counts.get("unlisted", 0),
            garbage=self._garbage,
            old_names=self._old_names,
            counts=counts,
            found=found,
            found_bytes=size,
            remaining=+remaining,
            outcomes=outcomes,
            copied_bytes=self.tally.bytes_mirrored,
            impact=self._impact(),
            is_whole=self.work.is_whole,
            started=self.work.started,
            settled_before=self.work.settled_before,
        )

    def _impact(self) -> Impact:
        hosts = self.tally.hosts.plain()
        copying = sum(each["requests"] for each in hosts if each["role"] == "door")
        listing = self._source.requests + self._asked
        return Impact(listing, copying, time.monotonic() - self._began)


def say(text: str) -> None:
    """A note for people."""
    with suppress(OSError):
        print(f"dcmirror: {shown(text)}", file=sys.stderr)
