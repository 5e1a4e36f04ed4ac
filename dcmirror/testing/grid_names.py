"""Names of certificates as grids and OpenSSL spell them."""

from __future__ import annotations

import hashlib

from cryptography import x509


def grid_name(name: x509.Name) -> str:
    """``/DC=org/DC=dcmirror/CN=Test User``, as gridmaps and dCache spell a name."""
    return "".join(
        f"/{attribute.rfc4514_attribute_name}={_text(attribute)}" for attribute in name
    )


def subject_hash(name: x509.Name) -> str:
    """OpenSSL's name of a CA in a hashed directory (SHA-1 of the canonical name)."""
    sets = b"".join(_canonical_set(attribute) for attribute in name)
    return _first_word(hashlib.sha1(sets, usedforsecurity=False))


def subject_hash_old(name: x509.Name) -> str:
    """The same before OpenSSL 1.0 (MD5 of the name as it is), still seen on grids."""
    return _first_word(hashlib.md5(name.public_bytes(), usedforsecurity=False))


def _text(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    return value if isinstance(value, str) else value.decode()


def _canonical_set(attribute: x509.NameAttribute[str | bytes]) -> bytes:
    """X509_NAME's canonical form: UTF-8, lower case, single blanks."""
    value = " ".join(_text(attribute).lower().split()).encode()
    oid = x509.Name([attribute]).public_bytes()
    start = oid.index(b"\x06")
    oid = oid[start : start + 2 + oid[start + 1]]
    return _der(0x31, _der(0x30, oid + _der(0x0C, value)))


def _der(tag: int, content: bytes) -> bytes:
    if len(content) > 127:
        raise ValueError("a name of a test CA is short")
    return bytes((tag, len(content))) + content


def _first_word(digest: hashlib._Hash) -> str:
    return f"{int.from_bytes(digest.digest()[:4], 'little'):08x}"
