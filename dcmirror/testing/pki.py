"""A throw-away grid PKI: CA directory, host and user certificates, RFC 3820 proxies.

Everything is made with `cryptography`; no openssl command is needed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dcmirror.testing.grid_names import grid_name, subject_hash, subject_hash_old

_BASE = (
    x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "org"),
    x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "dcmirror"),
)
_PROXY_CERT_INFO = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
# ProxyCertInfo with the policy language id-ppl-inheritAll (1.3.6.1.5.5.7.21.1)
_INHERIT_ALL = bytes.fromhex("300c300a06082b06010505071501")
_CLOCK_SKEW = timedelta(minutes=10)
_YEARS = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )


@dataclass(frozen=True, slots=True)
class Pki:
    """Paths of everything that ``make_pki`` wrote, and makers of more of it."""

    directory: Path
    capath: Path
    ca_pem: Path
    host_cert: Path
    host_key: Path
    user_cert: Path
    user_key: Path
    proxy: Path
    ca: Credential
    user: Credential

    @property
    def user_dn(self) -> str:
        """The user's name in the grid's spelling."""
        return grid_name(self.user.certificate.subject)

    def make_proxy(
        self,
        lifetime_seconds: float = 43200.0,
        path: Path | None = None,
        *,
        user: Credential | None = None,
    ) -> Path:
        """Write a new proxy, atomically; a negative life-time makes an expired one."""
        path = path or self.proxy
        _write(path, _proxy_pem(user or self.user, lifetime_seconds), 0o600)
        return path

    def make_user(self, common_name: str) -> Credential:
        """Another user of the same CA, whom the servers know as somebody else."""
        return _issue(self.ca, common_name, ExtendedKeyUsageOID.CLIENT_AUTH)

    def make_host(
        self,
        name: str,
        *,
        lifetime_seconds: float = _YEARS,
        names: Sequence[str] = ("localhost", "127.0.0.1"),
    ) -> tuple[Path, Path]:
        """Write certificate and key of another server, perhaps an expired one."""
        credential = _issue(
            self.ca,
            names[0],
            ExtendedKeyUsageOID.SERVER_AUTH,
            names=names,
            lifetime_seconds=lifetime_seconds,
        )
        return _write_pair(self.directory, name, credential)


def make_pki(directory: Path) -> Pki:
    """Make a PKI below ``directory``; its user holds a proxy for twelve hours."""
    directory.mkdir(parents=True, exist_ok=True)
    ca = _make_ca()
    capath = directory / "certificates"
    ca_pem = _write_capath(capath, ca)
    host = _issue(
        ca,
        "localhost",
        ExtendedKeyUsageOID.SERVER_AUTH,
        names=("localhost", "127.0.0.1"),
    )
    host_cert, host_key = _write_pair(directory, "host", host)
    user = _issue(ca, "Test User", ExtendedKeyUsageOID.CLIENT_AUTH)
    user_cert, user_key = _write_pair(directory, "user", user)
    pki = Pki(
        directory=directory,
        capath=capath,
        ca_pem=ca_pem,
        host_cert=host_cert,
        host_key=host_key,
        user_cert=user_cert,
        user_key=user_key,
        proxy=directory / "x509up",
        ca=ca,
        user=user,
    )
    pki.make_proxy()
    return pki


def _make_ca() -> Credential:
    key = _new_key()
    name = x509.Name((*_BASE, _common_name("dcmirror test CA")))
    builder = _builder(name, name, key, _YEARS)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return Credential(builder.sign(key, hashes.SHA256()), key)


def _issue(
    ca: Credential,
    common_name: str,
    purpose: x509.ObjectIdentifier,
    *,
    names: Sequence[str] = (),
    lifetime_seconds: float = _YEARS,
) -> Credential:
    key = _new_key()
    subject = x509.Name((*_BASE, _common_name(common_name)))
    builder = _builder(subject, ca.certificate.subject, key, lifetime_seconds)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]),
            critical=False,
        )
    # Python 3.13 verifies strictly: without the key identifiers it refuses the chain
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()),
        critical=False,
    )
    return Credential(builder.sign(ca.key, hashes.SHA256()), key)


def _proxy_pem(user: Credential, lifetime_seconds: float) -> bytes:
    """Proxy certificate, its key, the user's certificate: the order grids expect."""
    key = _new_key()
    serial = x509.random_serial_number() >> 96
    subject = x509.Name((*user.certificate.subject, _common_name(str(serial))))
    builder = _builder(subject, user.certificate.subject, key, lifetime_seconds)
    builder = builder.add_extension(_usage(), critical=True)
    builder = builder.add_extension(
        x509.UnrecognizedExtension(_PROXY_CERT_INFO, _INHERIT_ALL), critical=True
    )
    proxy = Credential(builder.sign(user.key, hashes.SHA256()), key)
    return proxy.certificate_pem + proxy.key_pem + user.certificate_pem


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, lifetime: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    end = now + timedelta(seconds=lifetime)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _CLOCK_SKEW)
        .not_valid_after(end)
    )


def _write_capath(capath: Path, ca: Credential) -> Path:
    """The CA with its CRL and signing policy, under both of OpenSSL's hashed names."""
    capath.mkdir(exist_ok=True)
    subject = ca.certificate.subject
    ca_pem = capath / "dcmirror-test-ca.pem"
    _write(ca_pem, ca.certificate_pem, 0o644)
    _write(capath / "dcmirror-test-ca.r0", _empty_crl(ca), 0o644)
    _write(capath / "dcmirror-test-ca.signing_policy", _signing_policy(subject), 0o644)
    targets = {".0": "pem", ".r0": "r0", ".signing_policy": "signing_policy"}
    for name in (subject_hash(subject), subject_hash_old(subject)):
        for suffix, target in targets.items():
            link = capath / f"{name}{suffix}"
            link.unlink(missing_ok=True)
            link.symlink_to(f"dcmirror-test-ca.{target}")
    return ca_pem


def _signing_policy(subject: x509.Name) -> bytes:
    return (
        f"access_id_CA X509 '{grid_name(subject)}'\n"
        "pos_rights globus CA:sign\n"
        "cond_subjects globus '\"/DC=org/DC=dcmirror/*\"'\n"
    ).encode()


def _empty_crl(ca: Credential) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - _CLOCK_SKEW)
        .next_update(now + timedelta(days=3650))
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    crl = builder.sign(ca.key, hashes.SHA256())
    return crl.public_bytes(serialization.Encoding.PEM)


def _write_pair(
    directory: Path, name: str, credential: Credential
) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}cert.pem", directory / f"{name}key.pem"
    _write(certificate, credential.certificate_pem, 0o644)
    _write(key, credential.key_pem, 0o400)
    return certificate, key


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _common_name(text: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, text)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, sign_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=not sign_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
