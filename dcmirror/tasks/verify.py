"""Whether the bytes that came are the file, and which one (DESIGN 5.7).

Runs in a worker, as a part of an attempt.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from dcmirror.adapters.requests import Answer
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.verification import (
    Body,
    Source,
    Verdict,
    Wanted,
    explain,
    judge_body,
    judge_body_by_source,
)
from dcmirror.tasks.attempt import Action, CopyTools, Pause, Reply
from dcmirror.tasks.exchange import AttemptFailed, Exchange


@dataclass(frozen=True, slots=True)
class Verified:
    """A body that may be published, and as what."""

    pnfsid: str | None
    adler32: int
    is_proved: bool
    reason: str | None


class BodyCheck:
    """Asks the source for what the answer with the body did not say.

    Args:
        wanted: the file that the body should be.
        answer: the one that carried the body.
    """

    def __init__(
        self, wanted: Wanted, answer: Answer, exchange: Exchange, tools: CopyTools
    ) -> None:
        self.wanted = wanted
        self.body = Body(answer.received, answer.adler32, answer.headers.adler32)
        self.exchange = exchange
        self.tools = tools

    def run(self) -> Generator[Action, Reply, Verified | Source]:
        """What the body may be published as; a Source if the path is that file now.

        Raises:
            AttemptFailed: it is not the file, or nothing proves it and that must be.
        """
        verdict = judge_body(self.wanted, self.body)
        source = Source()
        if verdict is Verdict.GOOD and self.wanted.pnfsid is None:
            source = yield from self._ask_name()
        elif verdict is Verdict.ASK:
            source = yield from self.exchange.head("checksum")
        if source != Source() or verdict is Verdict.ASK:
            verdict = judge_body_by_source(self.wanted, self.body, source)
        if verdict is Verdict.NO_DIGEST and self.tools.missing_digest != "accept":
            source, verdict = yield from self._await_digest(source)
        if verdict is Verdict.NO_DIGEST:
            return self._unproved(source)
        if verdict is Verdict.OTHER:
            return source
        if verdict is not Verdict.GOOD:
            raise self._mismatch(verdict, source)
        return self._verified(source, is_proved=True)

    def _ask_name(self) -> Generator[Action, Reply, Source]:
        """Whose good bytes these are; a door that will not say spoils no copy."""
        try:
            return (yield from self.exchange.head("checksum"))
        except AttemptFailed:
            return Source()

    def _await_digest(
        self, source: Source
    ) -> Generator[Action, Reply, tuple[Source, Verdict]]:
        verdict = Verdict.NO_DIGEST
        began = self.tools.clock()
        for seconds in self.tools.digest_ladder:
            self.exchange.enter("checksum")
            yield Pause(seconds)
            source = yield from self.exchange.head("checksum")
            if source.size is None:
                source = replace(source, size=self.body.received)
            verdict = judge_body_by_source(self.wanted, self.body, source)
            if verdict is not Verdict.NO_DIGEST:
                break
        self.exchange.phases["checksum"] = (self.tools.clock() - began) * 1000
        return source, verdict

    def _unproved(self, source: Source) -> Verified:
        if self.tools.missing_digest == "fail":
            text = "the source has no Adler-32 of it (missing_digest = fail)"
            raise AttemptFailed(
                Failure(
                    FailureClass.NO_DIGEST,
                    text,
                    host=self.exchange.door.name,
                    received=self.body.received,
                    adler32_computed=self.body.computed,
                )
            )
        return self._verified(source, is_proved=False)

    def _verified(self, source: Source, *, is_proved: bool) -> Verified:
        differs = self.wanted.size not in (None, self.body.received)
        return Verified(
            source.pnfsid or self.wanted.pnfsid,
            self.body.computed,
            is_proved,
            "size_differs_from_event" if differs else None,
        )

    def _mismatch(self, verdict: Verdict, source: Source) -> AttemptFailed:
        is_size = verdict is Verdict.WRONG_SIZE
        expected = self.body.digest if source.adler32 is None else source.adler32
        return AttemptFailed(
            Failure(
                FailureClass.SIZE if is_size else FailureClass.CHECKSUM,
                explain(self.wanted, self.body, source),
                host=(self.exchange.pool or self.exchange.door).name,
                received=self.body.received,
                adler32_expected=expected,
                adler32_computed=self.body.computed,
            )
        )
