"""Brings our dashboards to Kibana, by its import API or as a file for a person."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from dcmirror.adapters.elastic_admin import is_too_old
from dcmirror.adapters.elastic_client import authorization
from dcmirror.adapters.whole_file import write_whole
from dcmirror.core.elastic_templates import OLDEST
from dcmirror.errors import ElasticError
from dcmirror.settings import Elasticsearch

IMPORT = "/api/saved_objects/_import?overwrite=true"

_LONGEST_ANSWER = 16 << 20
_SHOWN = 3


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The credential goes where the operator said, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Kibana:
    """One Kibana, or one space of it: ``https://kibana.example.org/s/storage``.

    Args:
        url: its address.
        settings: who asks, whom we trust, how long we wait.
        password: of ``settings.username``, where no file holds it.
    """

    def __init__(
        self, url: str, settings: Elasticsearch, environ: Mapping[str, str]
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout = settings.timeout
        self._authorization = authorization(settings, environ)
        self._opener = urllib.request.build_opener(
            _NoRedirect(),
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=_trust(settings.ca_certs)),
        )

    def check_version(self) -> None:
        """Refuse a Kibana that cannot read our objects.

        Raises:
            ElasticError: it is too old, or is none.
        """
        status = self._ask("GET", "/api/status", None, {})
        version = status.get("version")
        number = version.get("number", "") if isinstance(version, dict) else ""
        if number and is_too_old(number):
            oldest = ".".join(map(str, OLDEST))
            raise ElasticError(
                f"Kibana at {self.url} is {number}; dcmirror needs {oldest} or later"
            )

    def install(self, ndjson: str) -> int:
        """Import the objects, over what is there under their names; how many.

        Raises:
            ElasticError: Kibana took not all of them.
        """
        body, kind = _form(ndjson.encode())
        answer = self._ask("POST", IMPORT, body, {"content-type": kind})
        if not answer.get("success"):
            raise ElasticError(self._partly(answer))
        return int(answer.get("successCount", 0))

    def _partly(self, answer: Any) -> str:
        errors = answer.get("errors") or []
        shown = ", ".join(_failure(each) for each in errors[:_SHOWN])
        more = f" and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        count = answer.get("successCount", 0)
        return (
            f"Kibana at {self.url} took {count} objects and refused {len(errors)}: "
            f"{shown or 'it does not say why'}{more}"
        )

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Any:
        request = urllib.request.Request(self.url + path, body, method=method)
        for name, value in {"kbn-xsrf": "true", **headers}.items():
            request.add_header(name, value)
        if self._authorization is not None:
            request.add_unredirected_header("authorization", self._authorization)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return self._read(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ElasticError(self._refusal(error)) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            text = re.sub(r"\s*\(_ssl\.c:[0-9]+\)", "", str(reason))
            raise ElasticError(
                f"Kibana cannot be reached at {self.url}: {text}"
            ) from error

    def _read(self, answer: IO[bytes]) -> dict[str, Any]:
        try:
            document = json.loads(answer.read(_LONGEST_ANSWER))
        except ValueError as error:
            raise ElasticError(f"what answers at {self.url} is not Kibana") from error
        if not isinstance(document, dict):
            raise ElasticError(f"what answers at {self.url} is not Kibana")
        return document

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        reason = _reason(error)
        if error.code in (301, 302, 303, 307, 308):
            where = error.headers.get("location", "elsewhere")
            return f"Kibana at {self.url} sends us to {where}: is that its address?"
        if error.code == 401:
            return f"Kibana at {self.url} does not know us (401): {reason}"
        if error.code == 403:
            return f"Kibana at {self.url} refuses (403): {reason}"
        if error.code == 404:
            return f"Kibana at {self.url} has no such address or space (404)"
        return f"Kibana at {self.url} says {error.code}: {reason}"


def _trust(ca_certs: Path | None) -> ssl.SSLContext:
    """The system's CAs, and Elasticsearch's: Kibana may have its own certificate."""
    context = ssl.create_default_context()
    if ca_certs is not None:
        try:
            context.load_verify_locations(ca_certs)
        except OSError as error:
            raise ElasticError(f"{ca_certs}: cannot read CA certificates") from error
    return context


def _form(data: bytes) -> tuple[bytes, str]:
    """One file as a form would send it: body and content type."""
    boundary = uuid.uuid4().hex
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="dcmirror.ndjson"\r\n'
        "Content-Type: application/ndjson\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _failure(error: Any) -> str:
    detail = error.get("error") or {}
    why = detail.get("message") or detail.get("type") or "no reason"
    if detail.get("references"):
        lacks = ", ".join(
            f"{r.get('type')} {r.get('id')}" for r in detail["references"]
        )
        why = f"{why} ({lacks})"
    return f"{error.get('type')} {error.get('id')}: {why}"


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        document = json.loads(error.read(65536))
        return " ".join(str(document["message"]).split())
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)


def write_objects(path: Path, ndjson: str) -> bool:
    """Write the objects to a file for a person to import; whether it changed.

    Raises:
        ConfigError: the file cannot be written.
    """
    with suppress(OSError):  # who cannot read it may write it, or is told why not
        if path.is_file() and path.read_bytes() == ndjson.encode():
            return False
    write_whole(path, ndjson)
    return True
