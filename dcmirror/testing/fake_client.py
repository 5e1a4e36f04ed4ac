"""The other end of ``fake_process``: a fake dCache in a process of its own."""

from __future__ import annotations

import base64
from pathlib import Path
from types import TracebackType
from typing import Any

from dcmirror.testing.lines import LineProcess


class RemoteDCache:
    """Starts the fake, talks to it, stops it.

    Args:
        directory: where it makes its certificates.
        bootstrap: Kafka brokers it publishes to, on ``topic``.
        options: more of its command line's: ``mode="billing", plain_pools=True``.
    """

    def __init__(
        self,
        directory: Path,
        bootstrap: str | None = None,
        topic: str = "billing",
        **options: str | int,
    ) -> None:
        arguments = ["--pki", str(directory), "--topic", topic]
        if bootstrap:
            arguments += ["--bootstrap", bootstrap]
        for name, value in options.items():
            arguments.append(f"--{name.replace('_', '-')}")
            if value is not True:
                arguments.append(str(value))
        self._process = LineProcess("dcmirror.testing.fake_dcache", *arguments)
        where: dict[str, str] = self._process.greeting
        self.door_url = where["door_url"]
        self.root = where["root"]
        self.capath = Path(where["capath"])
        self.proxy = Path(where["proxy"])
        self.user_dn = where["user_dn"]

    def __repr__(self) -> str:
        return f"<RemoteDCache {self.door_url} pid={self.pid}>"

    def __enter__(self) -> RemoteDCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.stop()

    def upload(
        self, path: str, data: bytes | None = None, **options: Any
    ) -> dict[str, Any]:
        """As ``FakeDCache.upload``; answers with pnfsid, size and adler32."""
        encoded = None if data is None else base64.b64encode(data).decode()
        answer: dict[str, Any] = self._process.call(
            "upload", path=path, data=encoded, **options
        )
        return answer

    def add_fault(self, kind: str, glob: str = "*", **options: Any) -> None:
        """As ``Faults.add``."""
        self._process.call("add_fault", kind=kind, glob=glob, **options)

    def clear_faults(self) -> None:
        self._process.call("clear_faults")

    def fired(self) -> dict[str, int]:
        answer: dict[str, int] = self._process.call("fired")
        return answer

    def files(self) -> dict[str, dict[str, Any]]:
        """What is there now: path -> size, adler32, pnfsid."""
        answer: dict[str, dict[str, Any]] = self._process.call("files")
        return answer

    def counters(self) -> dict[str, int]:
        """Such as ``{"door GET 302": 12, "pool GET 200": 12, "pool bytes": 4096}``."""
        answer: dict[str, int] = self._process.call("counters")
        return answer

    def requests(
        self, method: str = "", path: str = "", server: str = ""
    ) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._process.call(
            "requests", method=method, path=path, server=server
        )
        return answer

    def populate(self, directory: str, count: int, **options: int) -> None:
        """As ``FakeDCache.populate``."""
        self._process.call("populate", directory=directory, count=count, **options)

    def tell(self, paths: list[str]) -> None:
        """As ``FakeDCache.tell``, of each."""
        self._process.call("tell", paths=paths)

    def replace(self, path: str, **options: Any) -> str:
        """As ``FakeDCache.replace``; answers with the new pnfsid."""
        answer: str = self._process.call("replace", path=path, **options)
        return answer

    def remove(self, path: str) -> None:
        self._process.call("remove", path=path)

    def move(self, source: str, target: str) -> None:
        self._process.call("move", source=source, target=target)

    def set_digest(self, path: str, adler32: int | None) -> None:
        """As ``FakeDCache.set_digest``."""
        self._process.call("set_digest", path=path, adler32=adler32)

    def set_quota(self, directory: str, available: int, used: int = 0) -> None:
        self._process.call(
            "set_quota", directory=directory, available=available, used=used
        )

    def deletions(self) -> list[dict[str, Any]]:
        """What DELETEs have really removed: path, pnfsid, size, adler32."""
        answer: list[dict[str, Any]] = self._process.call("deletions")
        return answer

    def close_connections(self) -> None:
        self._process.call("close_connections")

    def flush(self) -> int:
        """Wait until the broker has all events; how many there were."""
        answer: int = self._process.call("flush")
        return answer
