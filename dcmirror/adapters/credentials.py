"""Reads the X.509 proxy and the CA directory: who we are, and for how long.

The supervisor looks here at the start and when the file changes; ``check`` shows it.
``cryptography`` is imported when first needed, since workers go without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcmirror.adapters.voms import EXTENSION, VomsAttributes, read_attributes
from dcmirror.errors import CredentialError
from dcmirror.settings import Local

if TYPE_CHECKING:
    from cryptography import x509

_LARGEST_FILE = 1 << 20
_CERTIFICATE = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
_KEY = re.compile(
    rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL
)
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_PROXY_INFO = frozenset({"1.3.6.1.5.5.7.1.14", "1.3.6.1.4.1.3536.1.222"})
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
    "1.2.840.113549.1.9.1": "emailAddress",
}


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """What a proxy file says.

    ``identity`` is the user's name in the grid's slash form.  ``not_after`` is the
    earliest end in the chain, in seconds since the epoch; ``voms_not_after`` that of
    the VOMS attributes, if there are any.
    """

    path: Path
    identity: str
    vos: tuple[str, ...]
    not_after: float
    fqans: tuple[str, ...] = ()
    not_before: float = 0.0
    voms_not_after: float | None = None
    mode: int = 0o600

    def seconds_left(self, now: float) -> float:
        """How long the door will accept it; negative when it has expired."""
        return self.not_after - now

    @property
    def is_exposed(self) -> bool:
        """Whether others than the owner may read the key."""
        return bool(self.mode & 0o077)


@dataclass(frozen=True, slots=True)
class CaDirectory:
    """A directory of trusted CAs: how many OpenSSL finds, and how many it does not."""

    path: Path
    hashed: int
    unhashed: int


def default_proxy(environ: Mapping[str, str], uid: int) -> Path:
    """Where the proxy is when the configuration does not say."""
    return Path(environ.get("X509_USER_PROXY") or f"/tmp/x509up_u{uid}")


def default_capath(environ: Mapping[str, str]) -> Path:
    """Where the CA certificates are when the configuration does not say."""
    return Path(environ.get("X509_CERT_DIR") or "/etc/grid-security/certificates")


def proxy_of(local: Local, environ: Mapping[str, str]) -> Path:
    """The proxy file, as configured or in its usual place."""
    return local.proxy or default_proxy(environ, os.getuid())


def capath_of(local: Local, environ: Mapping[str, str]) -> Path:
    """The directory of CA certificates, as configured or in its usual place."""
    return local.capath or default_capath(environ)


def read_proxy(path: Path) -> ProxyInfo:
    """Read and understand a proxy file; whether it has expired is the caller's to ask.

    Raises:
        CredentialError: the file is missing, unreadable, or not certificate and key.
    """
    text, status = _read(path)
    try:
        return _understand(path, text, status)
    except ValueError as error:  # cryptography parses names and dates late
        raise CredentialError(
            f"proxy {path}: a certificate in it cannot be read ({_first_line(error)})"
        ) from error


def _understand(path: Path, text: bytes, status: os.stat_result) -> ProxyInfo:
    chain = _certificates(path, text)
    _require_own_key(path, text, chain[0])
    _require_links(path, chain)
    voms = _voms(chain)
    return ProxyInfo(
        path=path,
        identity=_identity(chain),
        vos=voms.vos,
        not_after=min(cert.not_valid_after_utc.timestamp() for cert in chain),
        fqans=voms.fqans,
        not_before=max(cert.not_valid_before_utc.timestamp() for cert in chain),
        voms_not_after=voms.not_after,
        mode=status.st_mode & 0o777,
    )


def read_ca_directory(path: Path) -> CaDirectory:
    """Look for certificates under the names by which OpenSSL finds them.

    Raises:
        CredentialError: there are none.
    """
    try:
        names = os.listdir(path)
    except OSError as error:
        raise CredentialError(
            f"CA directory {path}: {error.strerror}; "
            "set [local] capath or $X509_CERT_DIR"
        ) from error
    hashed = sum(1 for name in names if _is_ca_file(path, name))
    unhashed = sum(1 for name in names if name.endswith((".pem", ".crt")))
    if not hashed:
        remedy = "run `openssl rehash` on it" if unhashed else "install the CA bundle"
        raise CredentialError(
            f"CA directory {path}: no certificate under a hashed name "
            f"(such as 5f8f5c2e.0); {remedy}"
        )
    return CaDirectory(path, hashed, unhashed)


def _is_ca_file(path: Path, name: str) -> bool:
    """Whether OpenSSL could open it: dangling links are left behind by updates."""
    return bool(_HASHED_NAME.fullmatch(name)) and os.access(path / name, os.R_OK)


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            return file.read(_LARGEST_FILE), status
    except FileNotFoundError as error:
        raise CredentialError(
            f"proxy {path}: no such file; make one, or set [local] proxy"
        ) from error
    except OSError as error:
        raise CredentialError(f"proxy {path}: {error.strerror}") from error


def _certificates(path: Path, text: bytes) -> list[x509.Certificate]:
    from cryptography import x509

    blocks = _CERTIFICATE.findall(text)
    if not blocks:
        raise CredentialError(f"proxy {path}: no certificate in it; make a new one")
    return [x509.load_pem_x509_certificate(block) for block in blocks]


def _require_own_key(path: Path, text: bytes, leaf: x509.Certificate) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    block = _KEY.search(text)
    if block is None:
        raise CredentialError(
            f"proxy {path}: no private key in it; "
            "certificate, key and chain belong in one file"
        )
    try:
        key = load_pem_private_key(block[0], password=None)
    except TypeError as error:
        raise CredentialError(
            f"proxy {path}: its private key has a passphrase, "
            "which an unattended service cannot type; make a proxy from it"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialError(
            f"proxy {path}: its private key cannot be read ({_first_line(error)})"
        ) from error
    if key.public_key() != leaf.public_key():
        raise CredentialError(
            f"proxy {path}: the private key is not that of the first certificate; "
            "the order is proxy certificate, key, user certificate"
        )


def _require_links(path: Path, chain: list[x509.Certificate]) -> None:
    """A proxy is worth nothing without the certificate that made it."""
    for number, cert in enumerate(chain):
        is_last = number + 1 == len(chain)
        if not _is_proxy(cert):
            return
        if is_last or chain[number + 1].subject != cert.issuer:
            raise CredentialError(
                f"proxy {path}: {_slashes(cert.issuer)}, which issued "
                f"{_slashes(cert.subject)}, does not follow it in the file"
            )


def _is_proxy(cert: x509.Certificate) -> bool:
    """RFC 3820, its draft, or the old form: the issuer's name and one more CN."""
    own, issuer = cert.subject.rdns, cert.issuer.rdns
    is_longer = len(own) == len(issuer) + 1 and own[:-1] == issuer
    if is_longer and own[-1].rfc4514_string() in ("CN=proxy", "CN=limited proxy"):
        return True
    return not _PROXY_INFO.isdisjoint(_extensions(cert))


def _extensions(cert: x509.Certificate) -> dict[str, bytes]:
    """Raw values of those extensions that ``cryptography`` has no class for."""
    from cryptography import x509

    try:
        extensions = list(cert.extensions)
    except (ValueError, x509.DuplicateExtension):
        return {}
    return {
        extension.oid.dotted_string: extension.value.value
        for extension in extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }


def _voms(chain: list[x509.Certificate]) -> VomsAttributes:
    for cert in chain:
        value = _extensions(cert).get(EXTENSION)
        if value is not None:
            return read_attributes(value)
    return VomsAttributes()


def _identity(chain: list[x509.Certificate]) -> str:
    return _slashes(next(cert for cert in chain if not _is_proxy(cert)).subject)


def _slashes(name: x509.Name) -> str:
    """The grid's way to write a name: ``/DC=org/DC=example/CN=Some Robot``."""
    parts = []
    for attribute in name:
        oid = attribute.oid.dotted_string
        raw = attribute.value
        value = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
        text = "".join(c if c.isprintable() else "?" for c in value)
        parts.append(f"/{_SHORT_NAMES.get(oid, oid)}={text}")
    return "".join(parts)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
