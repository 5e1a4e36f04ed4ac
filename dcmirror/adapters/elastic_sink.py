"""Ships journal lines to Elasticsearch, each once, whatever it answers.

The logger process runs this.  A line is done when the server has it, or had it already;
what the server blames on the document itself is set aside: it keeps back nothing.
"""

from __future__ import annotations

import random
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
# A server's error that sticks to some lines while others are taken is theirs.
_MOST_FAULTS = 12

_MANY = 1 << 30
# At most, before each document.
_ACTION_BYTES = 200

_PLAIN_QUERY = {"filter_path": ANSWER_FILTER}
# Without a template the server would make an index, and `elastic setup` could never
# make a data stream of that name.
_QUERY = {**_PLAIN_QUERY, "require_data_stream": "true"}


class ElasticSink:
    """One request at a time; what was not taken goes back to the caller."""

    name = "elasticsearch"

    def __init__(
        self,
        settings: Elasticsearch,
        dead_letters: DeadLetters,
        *,
        connector: Callable[[Elasticsearch], ElasticClient] = connect,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._settings = settings
        self._dead_letters = dead_letters
        self._connect = connector
        self._jitter = jitter
        self._client: ElasticClient | None = None
        self._streams = Streams()
        self._query: Mapping[str, str] = _QUERY
        self._is_checked = False
        self._most_lines = _MANY
        self._most_bytes = _MANY
        self._failures = 0
        self._faults: dict[tuple[str, int], int] = {}
        self._has_taken = False
        self._warning: str | None = None

    def __repr__(self) -> str:
        return f"<ElasticSink {', '.join(self._settings.urls)}>"

    def resume(self, memory: Mapping[str, Any]) -> None:
        """The server knows which lines it has."""

    def ship(self, lines: Sequence[ShippedLine]) -> Receipt:
        """Send as many as one request takes."""
        head = lines[: self._fitting(lines)]
        tail = lines[len(head) :]
        try:
            receipt = self._ship(head)
        except ElasticUnreachableError as exc:
            receipt = self._later(head, str(exc))
        except ElasticRefusedError as exc:
            receipt = self._refused(head, exc)
        except ElasticError as exc:
            receipt = Receipt(0, head, _HELP_PAUSE, trouble=str(exc), needs_help=True)
        return replace(receipt, rest=[*receipt.rest, *tail]) if tail else receipt

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

    def _ship(self, lines: Sequence[ShippedLine]) -> Receipt:
        known = [self._streams.of(line.body) for line in lines]
        streams = [stream for stream in known if stream is not None]
        if len(streams) < len(lines):
            return self._without_strays(lines, known)
        client = self._connected()
        parts = [
            b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n'
            % (stream, document_id(segment, number), document)
            for stream, (segment, number, document) in zip(streams, lines, strict=True)
        ]
        body = b"".join(parts)
        verdict = judge(client.bulk(body, self._query), len(lines))
        if verdict is None:
            return self._later(lines, f"{client}: an answer that makes no sense")
        return self._receipt(lines, verdict)

    def _without_strays(
        self, lines: Sequence[ShippedLine], streams: Sequence[bytes | None]
    ) -> Receipt:
        """Set aside what names no data stream; the others come again at once."""
        why = Refusal(0, 0, "no_data_stream", "the line names none")
        pairs = list(zip(lines, streams, strict=True))
        strays = [(line, why) for line, stream in pairs if stream is None]
        rest = [line for line, stream in pairs if stream is not None]
        trouble = self._set_aside(strays)
        return Receipt(len(strays), rest, dead=len(strays), trouble=trouble)

    def _connected(self) -> ElasticClient:
        if self._client is None:
            self._client = self._connect(self._settings)
        if not self._is_checked:
            self._warning = _setup_warning(self._client)
            self._is_checked = True
        return self._client

    def _receipt(self, lines: Sequence[ShippedLine], verdict: Verdict) -> Receipt:
        """Take the answer apart: what is done, what comes again, what is dead."""
        self._most_lines = min(self._most_lines * 2, _MANY)
        dead, again = self._faulty(lines, verdict)
        dead += verdict.of(Fate.DEAD)
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

    def _faulty(
        self, lines: Sequence[ShippedLine], verdict: Verdict
    ) -> tuple[list[Refusal], list[Refusal]]:
        """Server's errors: those that stick to a line, and those to try again."""
        self._has_taken = self._has_taken or verdict.taken > 0
        dead, again = [], []
        before, self._faults = self._faults, {}
        for why in verdict.of(Fate.FAULT):
            key = lines[why.index][:2]
            count = before.get(key, 0) + 1
            if count >= _MOST_FAULTS and self._has_taken:
                dead.append(why)
            else:
                self._faults[key] = count
                again.append(why)
        if not again:
            self._has_taken = False
        return dead, again

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
        return Receipt(0, lines, _HELP_PAUSE, trouble=str(exc), needs_help=True)

    def _halved(
        self, lines: Sequence[ShippedLine], exc: ElasticRefusedError
    ) -> Receipt:
        """Smaller requests from now on; a single line is shortened, then set aside."""
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
        trouble = self._set_aside(
            [(line, Refusal(0, exc.status, exc.kind, exc.reason))]
        )
        return Receipt(1, dead=1, trouble=trouble)

    def _later(self, lines: Sequence[ShippedLine], trouble: str) -> Receipt:
        self._failures += 1
        return Receipt(0, lines, self._pause(needs_help=False), trouble=trouble)

    def _pause(self, needs_help: bool) -> float:
        if needs_help:
            return _HELP_PAUSE
        failures = max(self._failures, *self._faults.values(), 1)
        return self._jitter(0.05, ceiling(failures, _FIRST_PAUSE, _LONGEST_PAUSE))

    def _remark(self, verdict: Verdict) -> str | None:
        if verdict.diverted:
            return f"the failure store took {verdict.diverted} documents"
        return self._warning


def _setup_warning(client: ElasticClient) -> str | None:
    """Whether our template is missing; a key that may not ask is no reason to worry."""
    try:
        client.ask("GET", f"/_index_template/{NAME}", query={"filter_path": "-*"})
    except ElasticRefusedError as exc:
        if exc.status == 404:
            return f"the index template {NAME} is missing: {SETUP_REMEDY}"
    return None
