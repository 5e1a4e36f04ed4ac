"""From a Kafka value to a decision: not ours, skip with a reason, or a file to copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dcmirror.core import uploads
from dcmirror.core.events import StorageEvent, parse_event
from dcmirror.core.filters import Rules
from dcmirror.core.jobs import Job, JobKind, Origin
from dcmirror.core.paths import PathMap, check_relative
from dcmirror.core.prefilter import Prefilter
from dcmirror.core.uploads import Verdict, classify
from dcmirror.errors import EventDecodeError, UnsafePathError

EXCLUDED = "excluded"
FILTERED = "filtered"

_EXCERPT_BYTES = 200
_EVERYDAY = frozenset({uploads.READ, uploads.P2P, uploads.NOT_AN_UPLOAD})

SiteFilter = Callable[[StorageEvent], str | None]
"""A site's own filter: None takes the upload, a text is the reason not to."""


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Not below the folder, or no upload: removals, and reads, our own among them."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Below the folder, and still not copied.  ``detail`` is the rule or the words."""

    reason: str
    event: StorageEvent
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Not a dCache event at all; ``excerpt`` is its beginning, escaped."""

    reason: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Unsafe:
    """An upload whose path must not be used (G9)."""

    event: StorageEvent
    reason: str
    verdict: Verdict = Verdict.TRIGGER


@dataclass(frozen=True, slots=True)
class Upload:
    """Something to copy, or to look at; ``relative`` is checked."""

    verdict: Verdict
    event: StorageEvent
    relative: str
    url: str


Decision = NotOurs | Skip | Garbage | Unsafe | Upload

NOT_OURS = NotOurs()


class Planner:
    """Decides about records; holds the configuration of what is ours, no state."""

    def __init__(
        self,
        path_map: PathMap,
        rules: Rules,
        site_filter: SiteFilter | None = None,
        *,
        root_bytes: int = 0,
    ) -> None:
        """``root_bytes`` is the length of the mirror's own path."""
        self._paths = path_map
        self._rules = rules
        self._site_filter = site_filter
        self._root_bytes = root_bytes
        self._may_match = Prefilter(path_map.root).may_match

    def decide(self, value: bytes | None) -> Decision:
        """What a record means; never raises for anything a record can hold."""
        if value and not self._may_match(value):
            return NOT_OURS
        return self.decide_parsed(value)

    def decide_parsed(self, value: bytes | None) -> Decision:
        """The same without the cheap test on the bytes."""
        try:
            event = parse_event(value)
        except EventDecodeError as error:
            return Garbage(str(error), _excerpt(value or b""))
        return self.judge(event)

    def judge(self, event: StorageEvent) -> Decision:
        """What a parsed event means."""
        relative = self._paths.relative(event.path) if event.path else None
        if relative is None:
            return NOT_OURS
        verdict, reason = classify(event)
        if verdict is Verdict.NO:
            return NOT_OURS if reason in _EVERYDAY else Skip(reason, event)
        rule = self._rules.excluded_by(relative)
        if rule is not None:
            return Skip(EXCLUDED, event, rule)
        return self._upload(verdict, event, relative)

    def _upload(self, verdict: Verdict, event: StorageEvent, relative: str) -> Decision:
        try:
            url = self._checked_url(event, relative)
        except UnsafePathError as error:
            return Unsafe(event, str(error), verdict)
        refusal = self._site_filter(event) if self._site_filter else None
        if refusal is not None:
            return Skip(FILTERED, event, refusal)
        return Upload(verdict, event, relative, url)

    def _checked_url(self, event: StorageEvent, relative: str) -> str:
        if event.unencodable:
            raise UnsafePathError("the path is not Unicode text")
        check_relative(relative, root_bytes=self._root_bytes)
        return self._paths.url(event.path or "")

    @staticmethod
    def shows_transfer(value: bytes | None) -> bool:
        """Whether a record is a pool's ``transfer``, of any path.

        A door's ``moverInfo`` calls itself a transfer too, but has no initiator.
        """
        if not value or b'"transfer"' not in value or b'"initiator"' not in value:
            return False
        try:
            return parse_event(value).msg_type == "transfer"
        except EventDecodeError:
            return False

    @staticmethod
    def job_of(
        upload: Upload, *, task: str, origin: Origin | None, accepted_at: float
    ) -> Job:
        """The job that an upload asks for."""
        event = upload.event
        return Job(
            task=task,
            kind=JobKind(upload.verdict.value),
            path=event.path or "",
            relative=upload.relative,
            url=upload.url,
            size=event.file_size,
            pnfsid=event.pnfsid,
            event_time=event.event_time,
            accepted_at=accepted_at,
            origin=origin,
            door=event.door,
            pool=event.pool,
            storage_class=event.storage_info,
            # After the commit itself there is nothing left to be patient for.
            awaits_commit=event.is_temporary and upload.verdict is not Verdict.COMMIT,
        )


def _excerpt(value: bytes) -> str:
    """The first bytes as printable ASCII."""
    return repr(value[:_EXCERPT_BYTES])[2:-1]
