"""What dCache's Kafka records say: bytes in, one tolerant StorageEvent out.

Producers from dCache 4.1 to 12 differ in keys and spelling; whatever is missing or of
an odd type becomes None, and only what is no JSON object at all is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dcmirror.errors import EventDecodeError

_UNKNOWN_PATHS = frozenset({"", "Unknown", "N/A"})
_NOTHING: Mapping[str, object] = {}
_NO_STATUS = -1
_SQL_INTEGER_MAX = 2**63 - 1

# Not strict: a raw control character in a path is refused later, by name, and not as an
# undecodable record.
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageEvent:
    """One dCache message.

    ``is_write`` is None where the record does not say.  ``has_mover`` says that a
    ``request`` carries usable mover information.  ``status_code`` is -1 when missing.
    All texts can be encoded as UTF-8; ``unencodable`` says that a path could not, and
    that it is shown with escapes.  ``door`` and ``pool`` are cell names.
    """

    msg_type: str
    is_write: bool | None = None
    is_p2p: bool = False
    status_code: int = _NO_STATUS
    pnfsid: str | None = None
    billing_path: str | None = None
    transfer_path: str | None = None
    file_size: int | None = None
    session: str | None = None
    initiator: str | None = None
    cell_type: str | None = None
    storage_info: str | None = None
    event_time: float | None = None
    has_mover: bool = False
    door: str | None = None
    pool: str | None = None
    unencodable: bool = False

    @property
    def path(self) -> str | None:
        """The path to fetch: billingPath, since transferPath may be temporary."""
        return self.billing_path or self.transfer_path

    @property
    def is_temporary(self) -> bool:
        """Whether the data went to a temporary path first (SRM, persist-on-close)."""
        return (
            self.billing_path is not None
            and self.transfer_path is not None
            and self.billing_path != self.transfer_path
        )


def parse_event(value: bytes | None) -> StorageEvent:
    """Read one Kafka value.

    Raises:
        EventDecodeError: it is not a JSON object.
    """
    record = _json_object(value)
    msg_type = _text(record, "msgType") or ""
    is_request = msg_type == "request"
    mover = _mapping(record, "moverInfo") if is_request else record
    is_write = _direction(mover.get("isWrite"))
    cell_name = _text(record, "cellName")
    initiator = _text(record, "initiator")
    billing_path, transfer_path = (
        _path(record, "billingPath"),
        _path(record, "transferPath"),
    )
    return StorageEvent(
        msg_type=msg_type,
        is_write=is_write,
        is_p2p=_truth(mover.get("isP2p")),
        status_code=_status_code(_mapping(record, "status")),
        pnfsid=_text(record, "pnfsid"),
        billing_path=_encodable(billing_path),
        transfer_path=_encodable(transfer_path),
        file_size=_file_size(record, zero_is_a_size=not is_request),
        session=_text(record, "session"),
        initiator=None if initiator == "<undefined>" else initiator,
        cell_type=_text(record, "cellType"),
        storage_info=_text(record, "storageInfo"),
        event_time=_event_time(record.get("date")),
        has_mover=is_request and is_write is not None,
        door=_door_of(initiator) if msg_type == "transfer" else cell_name,
        pool=_text(mover, "cellName") if is_request else cell_name,
        unencodable=_is_escaped(billing_path) or _is_escaped(transfer_path),
    )


def _json_object(value: bytes | None) -> Mapping[str, object]:
    if not value:
        raise EventDecodeError("empty record")
    # Bytes that are not UTF-8 become lone surrogates, so that a record with one bad
    # name still tells which file it is about.
    text = value.decode("utf-8", "surrogateescape")
    try:
        record = _DECODER.decode(text)
    except ValueError as exc:
        raise EventDecodeError(f"not JSON: {exc}") from exc
    except RecursionError as exc:
        raise EventDecodeError("not JSON: nested too deeply") from exc
    if not isinstance(record, dict):
        raise EventDecodeError(f"not a JSON object but {type(record).__name__}")
    return record


def _mapping(record: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = record.get(key)
    return value if isinstance(value, dict) else _NOTHING


def _text(record: Mapping[str, object], key: str) -> str | None:
    value = record.get(key)
    return _encodable(value) if isinstance(value, str) and value else None


def _path(record: Mapping[str, object], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value not in _UNKNOWN_PATHS else None


def _encodable(text: str | None) -> str | None:
    """Lone surrogates shown as escapes: no file or database takes them."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_escaped(text: str | None) -> bool:
    return text != _encodable(text)


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    # The catalogue cannot hold more.
    return value if isinstance(value, int) and abs(value) <= _SQL_INTEGER_MAX else None


def _truth(value: object) -> bool:
    return value is True or value == "true"


def _direction(value: object) -> bool | None:
    """dCache writes "write" or "read", as text."""
    if value == "write" or value is True:
        return True
    if value == "read" or value is False:
        return False
    return None


def _status_code(status: Mapping[str, object]) -> int:
    code = _integer(status.get("code"))
    return _NO_STATUS if code is None else code


def _file_size(record: Mapping[str, object], *, zero_is_a_size: bool) -> int | None:
    # Only pool manager's ``hit`` spells it ``filesize``.
    size = _integer(record.get("fileSize", record.get("filesize")))
    if size is None or size < 0:
        return None
    return size if size > 0 or zero_is_a_size else None


def _event_time(value: object) -> float | None:
    """Seconds since the epoch; before dCache 5.0 there is no offset, taken as UTC."""
    if not isinstance(value, str):
        return None
    try:
        date = datetime.fromisoformat(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _door_of(initiator: str | None) -> str | None:
    """The door's cell in a transaction like ``door:WebDAV-1@domain:AAYx1:171``."""
    kind, _, rest = (initiator or "").partition(":")
    cell = rest.partition("@")[0].partition(":")[0]
    return cell if kind == "door" and cell else None
