"""The records that dCache's pools and doors publish, made as dCache makes them."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

Record = dict[str, Any]
_DOMAIN = "dCacheDomain"
_STORAGE_INFO = "test:default@osm"


class Mode(StrEnum):
    """Which of dCache's services publish."""

    SERVICES = "services"  # pools and doors, with moverInfo (6.2 and later)
    BILLING = "billing"  # the billing cell (11.2 and later): no moverInfo
    BOTH = "both"  # every event twice
    DOORS = "doors"  # doors alone, with moverInfo
    ANCESTOR = "ancestor"  # doors alone, without moverInfo (2019)


_SHOWS_POOL = frozenset({Mode.SERVICES, Mode.BILLING, Mode.BOTH})
# protocol of an upload -> (cell of its door, protocol of its mover)
DOORS = {
    "webdav": ("WebDAV-S", "Https"),
    "ftp": ("GFTP-door1", "GFtp"),
    "xrootd": ("Xrootd-door1", "Xrootd"),
    "nfs": ("NFS-door1", "NFS4"),
    "dcap": ("DCap-door1", "DCap"),
    "tpc": ("RemoteTransferManager", "RemoteHttpsDataTransfer"),
}
_NEVER_MOVER_INFO = frozenset({"dcap", "tpc"})


@dataclass(frozen=True, slots=True)
class Movement:
    """One use of a mover: what a pool and a door tell about one transfer.

    ``pool`` None: no mover ever ran.
    """

    path: str
    pnfsid: str | None
    size: int
    is_write: bool
    session: str
    started: float
    moved: int | None = None
    transfer_path: str | None = None
    pool: str | None = "pool1"
    port: int = 40000
    owner: str = "/DC=org/DC=dcmirror/CN=Test User"
    protocol: str = "webdav"
    code: int = 0
    message: str = ""


class Billing:
    """Publishes what becomes known, in dCache's forms and in no certain order.

    Args:
        publish: gets each record's value; None drops them.
        mode: which services publish.
        seed: of the order of the two records of one transfer.
        clock: of the records' dates.
    """

    def __init__(
        self,
        publish: Callable[[bytes], None] | None = None,
        *,
        mode: Mode | str = Mode.SERVICES,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.mode = Mode(mode)
        self.published = 0
        self.clock = clock
        self._publish = publish
        self._random = random.Random(f"events {seed}")
        self._counter = 0
        self._lock = threading.Lock()

    def door_session(self, cell: str = "WebDAV-S") -> str:
        """A new transaction id, which joins the records of one transfer."""
        now = int(self.clock() * 1e6)
        with self._lock:
            # two at the same microsecond must not look like one
            self._counter += 1
            tag = base64.b64encode(((now + self._counter) % (1 << 64)).to_bytes(8))
        return f"door:{cell}@{_DOMAIN}:{tag.decode().rstrip('=')}:{now}"

    def moved(self, movement: Movement) -> None:
        """A mover has ended, well or badly: the pool's and the door's record."""
        transfer = self._transfer(movement)
        request = self._request(movement)
        with_info = request | {"moverInfo": _mover_info(transfer)}
        if movement.protocol in _NEVER_MOVER_INFO:
            with_info = request
        if movement.protocol == "tpc":
            _forget_file(request)
            with_info = request
        records: list[Record] = []
        if self.mode in (Mode.SERVICES, Mode.BOTH):
            records += [transfer, with_info]
        if self.mode in (Mode.BILLING, Mode.BOTH):
            records += [transfer, request]
        if self.mode is Mode.DOORS:
            records.append(with_info)
        if self.mode is Mode.ANCESTOR:
            records.append(request)
        with self._lock:
            self._random.shuffle(records)
        self.emit(*records)

    def refused(self, movement: Movement) -> None:
        """No mover ran: the door's record alone, without moverInfo."""
        request = self._request(movement)
        self.emit(*([request] * (2 if self.mode is Mode.BOTH else 1)))

    def committed(self, movement: Movement) -> None:
        """SRM's putDone (code 0) or abort (666)."""
        request = self._request(movement)
        request["cellName"] = "SrmManager"
        self.emit(request)

    def removed(self, movement: Movement) -> None:
        """A user deleted a file, and the pool dropped its replica."""
        record = self._request(movement) | {"msgType": "remove"}
        self.emit(record)

    def replica_removed(self, pnfsid: str, size: int) -> None:
        """A pool dropped a replica; says nothing of the file."""
        if self.mode not in _SHOWS_POOL:
            return
        session = self._pool_session("pool1")
        record = self._common("remove", "pool1", "pool") | {
            "version": "1.0",
            "session": session,
            "transaction": session,
            "subject": ["UidPrincipal[0]", "GidPrincipal[0,primary]"],
            "pnfsid": pnfsid,
            "billingPath": "Unknown",
            "fileSize": size,
            "storageInfo": _STORAGE_INFO,
            "status": {"code": 0, "msg": "cleaner-disk@dCacheDomain [PoolRemoveFiles]"},
        }
        self.emit(record)

    def emit(self, *records: Record) -> None:
        """Publish records as they are."""
        for record in records:
            self.emit_bytes(_encode(record))

    def emit_bytes(self, value: bytes) -> None:
        """Publish anything at all."""
        with self._lock:
            self.published += 1
        if self._publish is not None:
            self._publish(value)

    def _common(self, kind: str, cell: str, cell_type: str) -> Record:
        return {
            "msgType": kind,
            "date": _date(self.clock()),
            "queuingTime": 0,
            "cellName": cell,
            "cellType": cell_type,
            "cellDomain": _DOMAIN,
            "status": {"code": 0, "msg": ""},
        }

    def _transfer(self, movement: Movement) -> Record:
        pool = movement.pool or "pool1"
        now = self.clock()
        milliseconds = max(1, int((now - movement.started) * 1000))
        moved = movement.size if movement.moved is None else movement.moved
        rate = "meanWriteBandwidth" if movement.is_write else "meanReadBandwidth"
        return self._common("transfer", pool, "pool") | {
            "version": "1.0",
            "session": self._pool_session(pool),
            "initiator": movement.session,
            "isWrite": "write" if movement.is_write else "read",
            "isP2p": False,
            "pnfsid": movement.pnfsid,
            "fileSize": movement.size,
            "transferSize": moved,
            "transferTime": milliseconds,
            "billingPath": movement.path,
            "transferPath": movement.transfer_path or movement.path,
            "storageInfo": _STORAGE_INFO,
            "subject": _subject(movement.owner),
            "status": {"code": movement.code, "msg": movement.message},
            "localEndpoint": "127.0.0.1:20625",
            "protocolInfo": _protocol_info(movement),
            rate: moved * 1000.0 / milliseconds,
        }

    def _request(self, movement: Movement) -> Record:
        cell, _ = DOORS[movement.protocol]
        record = self._common("request", cell, "door") | {
            "VERSION": "1.0",
            "session": movement.session,
            "sessionDuration": int((self.clock() - movement.started) * 1000),
            "transferPath": movement.transfer_path or movement.path,
            "billingPath": movement.path,
            "subject": _subject(movement.owner),
            "client": "127.0.0.1",
            "clientChain": "127.0.0.1",
            "mappedUID": 1000,
            "mappedGID": 1000,
            "owner": movement.owner,
            "fileSize": movement.size,
            "storageInfo": _STORAGE_INFO,
            "status": {"code": movement.code, "msg": movement.message},
        }
        return record | ({"pnfsid": movement.pnfsid} if movement.pnfsid else {})

    def _pool_session(self, pool: str) -> str:
        with self._lock:
            self._counter += 1
            number = self._counter
        return f"pool:{pool}@{_DOMAIN}:{int(self.clock() * 1000)}-{number}"


def _mover_info(transfer: Record) -> Record:
    left_out = {
        "subject",
        "pnfsid",
        "fileSize",
        "initiator",
        "billingPath",
        "storageInfo",
    }
    return {key: value for key, value in transfer.items() if key not in left_out}


def _forget_file(request: Record) -> None:
    # the transfer manager knows neither
    request.pop("pnfsid", None)
    request["fileSize"] = 0


def _protocol_info(movement: Movement) -> Record:
    return {
        "protocol": DOORS[movement.protocol][1],
        "versionMajor": 1,
        "versionMinor": 1,
        "port": movement.port,
        "host": "127.0.0.1",
        "transferTag": "",
    }


def _subject(owner: str) -> list[str]:
    return [
        "GidPrincipal[0]",
        "Origin[127.0.0.1]",
        owner,
        "UidPrincipal[1000]",
        "UserNamePrincipal[testuser]",
        "GidPrincipal[1000,primary]",
    ]


def _date(now: float) -> str:
    """Java's ISO 8601: up to three digits of fraction, zeros at the end dropped."""
    moment = datetime.fromtimestamp(now, UTC)
    fraction = f"{moment.microsecond // 1000:03d}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"


def _encode(record: Record) -> bytes:
    """As org.json writes it: no blanks, ``</`` escaped, else plain UTF-8."""
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    return text.replace("</", "<\\/").encode("utf-8", "surrogateescape")
