"""Messages between supervisor and workers as bytes.

MessagePack by the types in ``messages``: a third of pickle's price, which a mirror of
small files pays twice for every file, and nothing but a message can come out of it.
"""

from __future__ import annotations

import pickle
from typing import get_args

import msgspec

from dcmirror.core.messages import FromWorker, ToWorker

Message = ToWorker | FromWorker

_KINDS: tuple[type[Message], ...] = (*get_args(ToWorker), *get_args(FromWorker))
_ODD_TEXT = len(_KINDS)

_encoder = msgspec.msgpack.Encoder()
_codes = {kind: bytes([code]) for code, kind in enumerate(_KINDS)}
_decoders = [msgspec.msgpack.Decoder(kind) for kind in _KINDS]


def encode(message: Message) -> bytes:
    """One message, its kind in front."""
    try:
        return _codes[type(message)] + _encoder.encode(message)
    except UnicodeEncodeError:
        # A lone surrogate: an error's text may name a file that is not UTF-8.
        return bytes([_ODD_TEXT]) + pickle.dumps(message)


def decode(data: bytes) -> Message:
    """The message; ``data`` must come from ``encode``."""
    code = data[0]
    body = memoryview(data)[1:]
    if code == _ODD_TEXT:
        message: Message = pickle.loads(body)
        return message
    return _decoders[code].decode(body)
