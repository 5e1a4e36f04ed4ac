"""Lists, looks at and deletes at the source, by WebDAV.

A client belongs to one thread.  It never follows a redirect, and raises DoorError for
whatever is not the answer that was asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dcmirror.adapters.credentials import capath_of, proxy_of
from dcmirror.adapters.curl_requests import Question
from dcmirror.adapters.door_lines import DoorLines, not_understood
from dcmirror.adapters.pace import Pace
from dcmirror.adapters.requests import TransferOptions
from dcmirror.adapters.webdav import Headers
from dcmirror.core.door_errors import DoorError
from dcmirror.core.escapes import shown, without_secrets
from dcmirror.core.failures import FailureClass
from dcmirror.core.http_values import (
    GONE,
    WANT_DIGEST,
    retry_after_seconds,
    size_of,
)
from dcmirror.core.limits import Limits
from dcmirror.core.listing import (
    PROPERTIES,
    Entry,
    Listing,
    entry_named,
    has_etag,
)
from dcmirror.core.multistatus import (
    DAV,
    Response,
)
from dcmirror.core.paths import PathMap, path_map_of
from dcmirror.settings import Settings

_FREE_BYTES = f"{DAV} quota-available-bytes"
#: Less than that on average for ``answer_seconds`` is no answer any more.
_LEAST_BYTES_PER_SECOND = 100.0
#: Components that make a path another one's.
_NO_NAMES = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """How the door is reached; ``answer_seconds`` bounds each silence of its."""

    proxy: Path | None
    capath: Path | None
    path_map: PathMap
    connect_seconds: float = 30.0
    answer_seconds: float = 300.0


def door_options(settings: Settings) -> DoorOptions:
    """How the door of this configuration is reached."""
    return DoorOptions(
        proxy=proxy_of(settings.local, os.environ),
        capath=capath_of(settings.local, os.environ),
        path_map=path_map_of(settings.dcache),
        connect_seconds=settings.source.connect_seconds,
    )


@dataclass(frozen=True, slots=True)
class DeleteAnswer:
    """What the door said; the request was sent once.

    ``retry_after`` is in seconds, where the door said so.
    """

    status: int
    reason: str = ""
    retry_after: float | None = None


class DoorClient:
    """One door, asked by one thread.  ``requests`` counts what was sent."""

    def __init__(
        self,
        options: DoorOptions,
        pace: Pace,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._paths = options.path_map
        limits = Limits(
            options.connect_seconds,
            options.answer_seconds,
            _LEAST_BYTES_PER_SECOND,
            options.answer_seconds,
        )
        curl_options = TransferOptions(options.proxy, options.capath, limits)
        self._wall = wall
        self._lines = DoorLines(curl_options, pace, wall)

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._lines.requests

    def close(self) -> None:
        """Hang up; a later call would connect again."""
        self._lines.close()

    def abandon(self) -> None:
        """End what is under way, and whatever would come, with DoorStopped.

        Any thread may call this.
        """
        self._lines.abandon()

    def list(self, directory: str) -> Iterator[Entry]:
        """What is in a directory, as it comes in; not the directory itself.

        The listing is whole only if this ends without an error.

        Raises:
            DoorError: it cannot be listed, or not to the end; status 404 or 410 if it
                is not there, kind REMOVED if it is no directory.
        """
        url = self._paths.directory_url(directory)
        listing = Listing(directory, url)
        for response in self._lines.propfind(
            directory, url, depth=1, wanted=PROPERTIES
        ):
            entry = listing.entry_of(response)
            if entry is not None:
                yield entry
        if not listing.has_itself:
            instead = shown(without_secrets(listing.stranger)) or "nothing"
            raise not_understood(directory, f"it names {instead} instead")
        if not listing.is_directory:
            raise DoorError(
                f"{shown(directory)}: not a directory", FailureClass.REMOVED
            )

    def look(self, path: str) -> Entry | None:
        """What is at a path below the namespace root now; None if there is nothing.

        Raises:
            DoorError: that cannot be told.
        """
        path = path.rstrip("/")
        url = self._paths.url(path)
        found = self._found_at(path, url)
        if found is None:
            return None
        entry = entry_named(path, url, found)
        if entry is None:
            raise not_understood(path, f"it names {shown(found.href)} instead")
        if entry.is_directory or entry.size is None or entry.trouble:
            return entry
        if entry.adler32 is not None and (entry.pnfsid or has_etag(found)):
            return entry
        return self._with_digest(entry, url)

    def has_directory(self, path: str) -> bool:
        """Whether there is a directory of that name now; it may be the folder itself.

        Raises:
            DoorError: that cannot be told.
        """
        if self._paths.relative(path) is not None:
            entry = self.look(path)
            return entry is not None and entry.is_directory
        url = self._paths.directory_url(path)  # all that the door shows, perhaps
        found = self._found_at(path, url)
        if found is None:
            return False
        listing = Listing(path, url)
        listing.entry_of(found)
        if not listing.has_itself:
            raise not_understood(path, f"it names {shown(found.href)} instead")
        return listing.is_directory

    def _found_at(self, path: str, url: str) -> Response | None:
        try:
            return self._alone_at(path, url)
        except DoorError as error:
            if error.http_status in GONE:
                return None
            if error.kind is not FailureClass.REDIRECT or url.endswith("/"):
                raise
        # Apache sends those who forgot a directory's slash elsewhere; we ask again.
        return self._found_at(path, f"{url}/")

    def _alone_at(self, path: str, url: str) -> Response:
        """The one response of depth 0, read to its end."""
        found: list[Response] = []
        for response in self._lines.propfind(path, url, depth=0, wanted=PROPERTIES):
            found.append(response)
            if len(found) > 1:
                break
        if len(found) != 1:
            raise not_understood(path, "it is not about one name")
        return found[0]

    def _with_digest(self, entry: Entry, url: str) -> Entry:
        """Ask HEAD, which may know more; all it says is of one and the same moment."""
        if entry.size == 0:  # XRootD would not answer
            return entry
        answer = self._lines.ask(Question("HEAD", url, (WANT_DIGEST,)), entry.path)
        headers = answer.headers
        if headers.status == 200:
            return _as_head_says(entry, headers)
        if headers.status in (401, 403, 429) or headers.status >= 500:
            raise self._lines.refused("HEAD", entry.path, headers)
        return entry  # some have no HEAD, or none for such names

    def delete(self, path: str) -> DeleteAnswer:
        """Delete one file; whatever the door answers is the answer.

        Raises:
            ValueError: the path may be a directory's; dCache deletes those whole.
            DoorError: there was no answer, so that nobody knows.
        """
        return self._change("DELETE", path, self._file_url(path))

    def move(self, source: str, target: str) -> DeleteAnswer:
        """Rename one file, never onto another; whatever the door answers is the answer.

        Raises:
            ValueError: a path may be a directory's.
            DoorError: there was no answer, so that nobody knows.
        """
        headers = (f"Destination: {self._file_url(target)}", "Overwrite: F")
        return self._change("MOVE", source, self._file_url(source), headers)

    def delete_directory(self, path: str) -> DeleteAnswer:
        """Delete a directory, with what is in it now.

        Raises:
            ValueError: it is not below the folder that is mirrored.
            DoorError: there was no answer, so that nobody knows.
        """
        return self._change("DELETE", path, f"{self._file_url(path)}/")

    def move_directory(self, source: str, target: str) -> DeleteAnswer:
        """Rename a directory, never onto what is there.  Raises as ``move``."""
        url = f"{self._file_url(target)}/"
        headers = (f"Destination: {url}", "Overwrite: F")
        return self._change("MOVE", source, f"{self._file_url(source)}/", headers)

    def make_directory(self, path: str) -> DeleteAnswer:
        """Make one directory.  Raises as ``move``."""
        return self._change("MKCOL", path, f"{self._file_url(path)}/")

    def _file_url(self, path: str) -> str:
        """The URL of what is to be changed: never the folder itself."""
        names = (self._paths.relative(path) or "").split("/")
        if not _NO_NAMES.isdisjoint(names):
            raise ValueError(f"not the path of a file that is mirrored: {path!r}")
        return self._paths.url(path)

    def _change(
        self, method: str, path: str, url: str, headers: tuple[str, ...] = ()
    ) -> DeleteAnswer:
        answer = self._lines.ask(Question(method, url, headers, may_repeat=False), path)
        told = answer.headers
        retry_after = retry_after_seconds(told.retry_after, self._wall())
        return DeleteAnswer(told.status, told.reason, retry_after)

    def free_bytes(self, directory: str) -> int | None:
        """What may still be written there; None if the door does not say.

        Raises:
            DoorError: the directory cannot be asked for.
        """
        url = self._paths.directory_url(directory)
        asked = self._lines.propfind(directory, url, depth=0, wanted=(_FREE_BYTES,))
        found = next(asked, None)
        for _ in asked:  # to the end, for the connection's sake
            pass
        text = found.properties.get(_FREE_BYTES, "") if found else ""
        return size_of(text)


def _as_head_says(entry: Entry, headers: Headers) -> Entry:
    is_same = headers.content_length == entry.size
    return replace(
        entry,
        size=headers.content_length,
        pnfsid=headers.pnfsid or (entry.pnfsid if is_same else None),
        adler32=headers.adler32,
        modified=headers.last_modified or entry.modified,
    )
