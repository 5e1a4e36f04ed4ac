"""A headless Chromium that looks at a page, spoken to over its debugging pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers.ladder import Unavailable

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-pipe",
)
_SECONDS = 60.0

# What sticks out: an element wider than its place, or past the page's right edge.
_OUTSIDE = """
(() => {
  const width = document.documentElement.clientWidth, found = [];
  for (const each of document.body.querySelectorAll('*')) {
    const box = each.getBoundingClientRect();
    const isDrawn = box.width > 0 && box.height > 0;
    if (isDrawn && (box.right > width + 0.5 || box.left < -0.5)) {
      found.push(each.tagName + ' ' + each.textContent.slice(0, 40));
    }
  }
  return found;
})()
"""


@dataclass
class Seen:
    """What a page was like at one width."""

    width: int
    scroll_width: int
    outside: list[str]
    smallest_text: float
    text: str
    screenshot: Path
    complaints: list[str]
    requests: list[str]


def start_local() -> Path:
    """The browser's program, if there is one."""
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise Unavailable("no chromium; apt-get install chromium")


@dataclass
class Browser:
    """One browser with a profile of its own, and one page in it."""

    program: Path
    profile: Path
    _process: subprocess.Popen[bytes] = field(init=False)
    _number: int = 0
    _session: str | None = None

    def __post_init__(self) -> None:
        read_theirs, self._write = os.pipe()
        self._read, write_theirs = os.pipe()
        # The pipe's ends must be descriptors 3 and 4 of the browser.
        line = f'exec "$@" 3<&{read_theirs} 4>&{write_theirs}'
        command = [str(self.program), *_FLAGS, f"--user-data-dir={self.profile}"]
        with open(self.profile / "browser.log", "wb") as log:
            self._process = subprocess.Popen(
                ["/bin/bash", "-c", line, "bash", *command, "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(read_theirs, write_theirs),
                start_new_session=True,
            )
        os.close(read_theirs)
        os.close(write_theirs)
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End it with everything it started."""
        os.close(self._write)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait(5)
        os.close(self._read)

    def look(
        self,
        page: Path,
        width: int,
        screenshot: Path,
        *,
        media: str = "screen",
        scheme: str = "light",
        opened: bool = False,
    ) -> Seen:
        """Open a file at a width, as a telephone would below 500 pixels."""
        self._events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.call("Page.navigate", url=page.as_uri())
        self._wait_for("Page.loadEventFired")
        if opened:
            self.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
        self._shoot(screenshot)
        return Seen(
            width=width,
            scroll_width=self.ask("document.documentElement.scrollWidth"),
            outside=self.ask(_OUTSIDE),
            smallest_text=self.ask(
                "Math.min(...[...document.body.querySelectorAll('*')]"
                ".filter(e => e.getClientRects().length && e.textContent.trim())"
                ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
            ),
            text=self.ask("document.body.innerText"),
            screenshot=screenshot,
            complaints=[_complaint(e) for e in self._events if _complaint(e)],
            requests=[
                event["params"]["request"]["url"]
                for event in self._events
                if event["method"] == "Network.requestWillBeSent"
            ],
        )

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method}
        message |= {"params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._events.append(answer)

    def ask(self, expression: str) -> Any:
        """The value of an expression on the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def _wait_for(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._next())

    def _shoot(self, path: Path) -> None:
        height = self.ask("document.documentElement.scrollHeight")
        width = self.ask("window.innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.call(
            "Page.captureScreenshot",
            format="png",
            clip=clip,
            captureBeyondViewport=True,
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select(
                [self._read], [], [], max(deadline - time.monotonic(), 0)
            )
            data = os.read(self._read, 1 << 20) if ready else b""
            if not data:
                log = (self.profile / "browser.log").read_text(errors="replace")
                raise AssertionError(f"the browser does not answer: {log[-2000:]}")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def browser(program: Path) -> Iterator[Browser]:
    """A browser with a new empty profile."""
    with tempfile.TemporaryDirectory(
        prefix="dcmirror-chromium-", ignore_cleanup_errors=True
    ) as profile:
        running = Browser(program, Path(profile))
        try:
            yield running
        finally:
            running.close()


def _complaint(event: dict[str, Any]) -> str:
    """What the console would show of an event."""
    params = event.get("params", {})
    if event.get("method") == "Log.entryAdded":
        return f"{params['entry']['level']}: {params['entry']['text']}"
    if event.get("method") == "Runtime.exceptionThrown":
        return str(params["exceptionDetails"].get("text"))
    if event.get("method") == "Runtime.consoleAPICalled":
        return f"{params['type']}: {params['args']}"
    return ""
