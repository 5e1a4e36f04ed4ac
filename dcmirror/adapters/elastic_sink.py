"""Ships journal lines to Elasticsearch, each once, whatever it answers.

The logger process runs this.  A line is done when the server has it, or had it already;
what the server blames on the document itself is set aside: it keeps back nothing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from dcmirror.adapters.dead_letters import DeadLetters
from dcmirror.adapters.elastic_client import (
    ElasticClient,
    ElasticRefusedError,
    ElasticUnreachableError,
    connect,
)
from dcmirror.adapters.sinks import Receipt, ShippedLine
from dcmirror.core.blame import Blame
from dcmirror.core.bulk import (
    ANSWER_FILTER,
    SETUP_REMEDY,
    Fate,
    Refusal,
    Streams,
    Verdict,
    WholeFate,
    ceiling,
    document_id,
    first_reason,
    judge,
    shortened,
    whole_fate,
)
from dcmirror.core.elastic_templates import NAME
from dcmirror.errors import ElasticError
from dcmirror.settings import Elasticsearch

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
# Somebody must act; a new key in the file ends this pause early.
_HELP_PAUSE = 30.0
# How often it is seen whether a missing template is there now.
_CHECK_PAUSE = 60.0
_MANY = 1 << 30
# From so many lines on, two connections: a server takes 1.7 times as many then.
_WORTH_TWO = 400
# At most, before each document.
_ACTION_BYTES = 200

_PLAIN_QUERY = {"filter_path": ANSWER_FILTER}
# Without a template the server would make an index, and `elastic setup` could never
# make a data stream of that name.
_QUERY = {**_PLAIN_QUERY, "require_data_stream": "true"}

# None: an answer that makes no sense.
_Answer = Verdict | ElasticError | None


class ElasticSink:
    """Two requests at a time at most; what was not taken goes back to the caller."""

    name = "elasticsearch"

    def __init__(
        self,
        settings: Elasticsearch,
        dead_letters: DeadLetters,
        *,
        connector: Callable[[Elasticsearch], ElasticClient] = connect,
        jitter: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._dead_letters = dead_letters
        self._connect = connector
        self._jitter = jitter
        self._clock = clock
        self._client: ElasticClient | None = None
        self._streams = Streams()
        self._query: Mapping[str, str] = _QUERY
        self._check_at = float("-inf")
        self._most_lines = _MANY
        self._most_bytes = _MANY
        self._failures = 0
        self._blame = Blame(self._streams.of)
        self._warning: str | None = None

    def __repr__(self) -> str:
        return f"<ElasticSink {', '.join(self._settings.urls)}>"

    def resume(self, memory: Mapping[str, Any]) -> None:
        """The server knows which lines it has."""

    def is_elsewhere(self) -> bool:
        """It is asked about each line, wherever it is."""
        return False

    def ship(self, lines: Sequence[ShippedLine]) -> Receipt:
        """Send as many as two requests take."""
        lines, late = self._blame.last(lines)
        parts = self._parts(lines)
        bodies = [self._body(part) for part in parts]
        sent = [part for part, body in zip(parts, bodies, strict=True) if body]
        raw = self._answers([body for body in bodies if body])
        answers = [_judged(*pair) for pair in zip(sent, raw, strict=True)]
        pairs = zip(sent, answers, strict=True)
        judged = [(part, it) for part, it in pairs if isinstance(it, Verdict)]
        if judged:
            self._blame.begin(judged)
        coming = iter(answers)
        receipts = [
            self._note(part, next(coming)) if body else self._without_strays(part)
            for part, body in zip(parts, bodies, strict=True)
        ]
        receipt = _together(receipts, [*lines[sum(map(len, parts)) :], *late])
        lost = self._dead_letters.pop_lost()
        return replace(receipt, lost=lost) if lost else receipt

    def settle(self) -> dict[str, Any]:
        """What is taken is durable; nothing to remember."""
        return {}

    def is_cured(self) -> bool:
        """Whether there is another key than the one that was refused."""
        return self._client is not None and self._client.has_new_credential()

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _fitting(self, lines: Sequence[ShippedLine]) -> int:
        """How many lines go into one request; one at least."""
        if self._most_bytes == _MANY:
            return self._most_lines
        sizes = accumulate(len(line.body) + _ACTION_BYTES for line in lines)
        fitting = sum(1 for size in sizes if size <= self._most_bytes)
        return max(min(fitting, self._most_lines), 1)

    def _parts(self, lines: Sequence[ShippedLine]) -> list[Sequence[ShippedLine]]:
        """One request, or two that a server works on at the same time."""
        half = len(lines) if len(lines) < _WORTH_TWO else (len(lines) + 1) // 2
        first = lines[: min(half, self._fitting(lines))]
        rest = lines[len(first) :]
        if len(lines) < _WORTH_TWO:
            return [first]
        return [first, rest[: min(half, self._fitting(rest))]]

    def _body(self, lines: Sequence[ShippedLine]) -> bytes | None:
        """What is sent for these lines; None where one of them names no stream."""
        known = [self._streams.of(line.body) for line in lines]
        streams = [stream for stream in known if stream is not None]
        if len(streams) < len(lines):
            return None
        parts = [
            b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n'
            % (stream, document_id(segment, number), document)
            for stream, (segment, number, document) in zip(streams, lines, strict=True)
        ]
        return b"".join(parts)

    def _answers(self, bodies: list[bytes]) -> list[object]:
        """The server's answers, or why there is none; asked at the same time."""
        answers: list[object] = [None] * len(bodies)
        if not bodies:
            return answers
        try:
            client = self._connected()
        except ElasticError as exc:
            return [exc] * len(bodies)

        def ask(place: int) -> None:
            try:
                answers[place] = client.bulk(bodies[place], self._query)
            except ElasticError as exc:
                answers[place] = exc

        # Daemons, unlike those of an executor: a server that hangs must not hold up
        # the end of the process.
        others = [
            threading.Thread(target=ask, args=(place,), daemon=True)
            for place in range(1, len(bodies))
        ]
        for other in others:
            other.start()
        ask(0)
        for other in others:
            other.join()
        return answers

    def _note(self, lines: Sequence[ShippedLine], answer: _Answer) -> Receipt:
        if isinstance(answer, Verdict):
            return self._receipt(lines, answer)
        if isinstance(answer, ElasticUnreachableError):
            return self._later(lines, str(answer))
        if isinstance(answer, ElasticRefusedError):
            return self._refused(lines, answer)
        if isinstance(answer, ElasticError):
            trouble = str(answer)
            return Receipt(0, lines, _HELP_PAUSE, trouble=trouble, needs_help=True)
        return self._later(lines, f"{self._client}: an answer that makes no sense")

    def _without_strays(self, lines: Sequence[ShippedLine]) -> Receipt:
        """Set aside what names no data stream; the others come again at once."""
        why = Refusal(0, 0, "no_data_stream", "the line names none")
        pairs = [(line, self._streams.of(line.body)) for line in lines]
        strays = [(line, why) for line, stream in pairs if stream is None]
        rest = [line for line, stream in pairs if stream is not None]
        trouble = self._set_aside(strays)
        return Receipt(len(strays), rest, dead=len(strays), trouble=trouble)

    def _connected(self) -> ElasticClient:
        if self._client is None:
            self._client = self._connect(self._settings)
        # Somebody may run `elastic setup` meanwhile; once all is well, it stays so
        # until a person is needed again.
        if self._clock() >= self._check_at:
            self._warning = _setup_warning(self._client)
            pause = _CHECK_PAUSE if self._warning else float("inf")
            self._check_at = self._clock() + pause
        return self._client

    def _receipt(self, lines: Sequence[ShippedLine], verdict: Verdict) -> Receipt:
        """Take the answer apart: what is done, what comes again, what is dead."""
        self._most_lines = min(self._most_lines * 2, _MANY)
        dead, again = self._blame.sort(lines, verdict)
        paused = verdict.of(Fate.PAUSE)
        waiting = [*paused, *verdict.of(Fate.RETRY), *again]
        trouble = self._set_aside([(lines[why.index], why) for why in dead])
        if waiting:
            trouble = first_reason(waiting)
        if not waiting:
            self._failures = 0
        elif verdict.taken:
            self._failures = 1
        else:
            self._failures += 1
        return Receipt(
            taken=verdict.taken + len(dead),
            rest=[lines[index] for index in sorted(why.index for why in waiting)],
            pause=self._pause(needs_help=bool(paused)) if waiting else 0.0,
            duplicates=verdict.duplicates,
            dead=len(dead),
            trouble=trouble or self._remark(verdict),
            needs_help=bool(paused),
            is_stuck=bool(waiting) and len(again) == len(waiting),
        )

    def _set_aside(self, dead: Sequence[tuple[ShippedLine, Refusal]]) -> str | None:
        """A disk that takes no dead letters must not stop the living."""
        if not dead:
            return None
        words = first_reason([why for _, why in dead])
        try:
            self._dead_letters.add(dead)
        except OSError as exc:
            return f"refused, and cannot be set aside ({exc.strerror}): {words}"
        return f"set aside: {words}"

    def _refused(
        self, lines: Sequence[ShippedLine], exc: ElasticRefusedError
    ) -> Receipt:
        """A whole request was refused."""
        fate = whole_fate(exc.status, exc.kind, exc.reason)
        if fate is WholeFate.PLAIN and self._query is not _PLAIN_QUERY:
            self._query = _PLAIN_QUERY
            return Receipt(0, lines)
        if fate is WholeFate.HALVE:
            return self._halved(lines, exc)
        if fate is WholeFate.RETRY:
            return self._later(lines, str(exc))
        pause = self._pause(needs_help=True)
        return Receipt(0, lines, pause, trouble=str(exc), needs_help=True)

    def _halved(
        self, lines: Sequence[ShippedLine], exc: ElasticRefusedError
    ) -> Receipt:
        """Smaller requests from now on; a single line is shortened, or to blame."""
        if len(lines) == 1:
            return self._single(lines[0], exc)
        if exc.status == 413:
            size = sum(len(line.body) + _ACTION_BYTES for line in lines)
            self._most_bytes = size // 2
        else:
            self._most_lines = len(lines) // 2
        return Receipt(0, lines)

    def _single(self, line: ShippedLine, exc: ElasticRefusedError) -> Receipt:
        body = shortened(line.body) if exc.status == 413 else None
        if body is not None:
            return Receipt(0, [line._replace(body=body)])
        self._most_lines = _MANY
        if not self._blame.is_to_blame(line):
            return replace(self._later([line], str(exc)), is_stuck=True)
        trouble = self._set_aside(
            [(line, Refusal(0, exc.status, exc.kind, exc.reason))]
        )
        return Receipt(1, dead=1, trouble=trouble)

    def _later(self, lines: Sequence[ShippedLine], trouble: str) -> Receipt:
        self._failures += 1
        return Receipt(0, lines, self._pause(needs_help=False), trouble=trouble)

    def _pause(self, needs_help: bool) -> float:
        if needs_help:
            self._check_at = float("-inf")  # to see what somebody will have done
            return _HELP_PAUSE
        failures = max(self._failures, self._blame.most_refusals, 1)
        return self._jitter(0.05, ceiling(failures, _FIRST_PAUSE, _LONGEST_PAUSE))

    def _remark(self, verdict: Verdict) -> str | None:
        if verdict.diverted:
            return f"the failure store took {verdict.diverted} documents"
        return self._warning


def _judged(lines: Sequence[ShippedLine], answer: object) -> _Answer:
    return answer if isinstance(answer, ElasticError) else judge(answer, len(lines))


def _together(receipts: Sequence[Receipt], tail: Sequence[ShippedLine]) -> Receipt:
    """One receipt for requests that went out together, and for what did not go."""
    if len(receipts) == 1 and not tail:
        return receipts[0]
    waiting = [receipt for receipt in receipts if receipt.rest]
    # What a person must do is said before what passes by itself.
    told = sorted(
        receipts, key=lambda receipt: (not receipt.needs_help, not receipt.rest)
    )
    return Receipt(
        taken=sum(receipt.taken for receipt in receipts),
        rest=[line for receipt in receipts for line in receipt.rest] + list(tail),
        pause=max(receipt.pause for receipt in receipts),
        duplicates=sum(receipt.duplicates for receipt in receipts),
        dead=sum(receipt.dead for receipt in receipts),
        trouble=next((receipt.trouble for receipt in told if receipt.trouble), None),
        needs_help=any(receipt.needs_help for receipt in receipts),
        is_stuck=bool(waiting) and all(receipt.is_stuck for receipt in waiting),
    )


def _setup_warning(client: ElasticClient) -> str | None:
    """Whether our template is missing; a key that may not ask is no reason to worry."""
    try:
        client.ask("GET", f"/_index_template/{NAME}", query={"filter_path": "-*"})
    except ElasticRefusedError as exc:
        if exc.status == 404:
            return f"the index template {NAME} is missing: {SETUP_REMEDY}"
    return None
