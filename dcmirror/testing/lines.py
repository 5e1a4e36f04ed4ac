"""Calls into a child process: one JSON object a line, in on stdin, out on stdout.

The child ends when its stdin does, so it never outlives who started it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TextIO

Calls = Mapping[str, Callable[..., Any]]


class CallFailed(RuntimeError):
    """The child could not do it; the message is the child's."""


class LineProcess:
    """``python -m MODULE ARGUMENTS`` and the calls it answers."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # ^C is for the foreground, which then stops us
        )
        self._lock = threading.Lock()
        self.greeting = self._read()

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Ask the child and wait for its answer."""
        line = json.dumps({"call": name, "arguments": arguments})
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{line}\n")
            return self._read()

    def stop(self) -> None:
        """End of the conversation; kills what does not leave by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(20)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise CallFailed(f"{self._process.args!r} ended with status {status}")
        answer = json.loads(line)
        if "error" in answer:
            raise CallFailed(answer["error"])
        return answer["result"]


def serve(
    greeting: Any,
    calls: Calls,
    source: TextIO | None = None,
    sink: TextIO | None = None,
) -> None:
    """In the child: greet, then answer calls until the other side is gone."""
    source, sink = source or sys.stdin, sink or sys.stdout
    _write(sink, {"result": greeting})
    for line in source:
        _write(sink, _answer(calls, line))


def _answer(calls: Calls, line: str) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        return {"result": calls[asked["call"]](**asked["arguments"])}
    except Exception as exc:  # noqa: BLE001 - reported to whoever called
        return {"error": f"{type(exc).__name__}: {exc}"}


def _write(sink: TextIO, answer: dict[str, Any]) -> None:
    sink.write(f"{json.dumps(answer)}\n")
    sink.flush()
