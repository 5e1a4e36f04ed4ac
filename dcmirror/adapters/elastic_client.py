"""The connection to Elasticsearch: the only importer of its client.

The logger process ships with it; ``elastic setup`` and ``check`` ask with it.  Every
request says that it speaks the language of Elasticsearch 8, which servers 8 and 9 both
understand, whichever of the two majors of the client is installed.
"""

from __future__ import annotations

import base64
import gzip
import logging
import os
import ssl
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import elastic_transport
import elasticsearch

from dcmirror.errors import ElasticError
from dcmirror.settings import Elasticsearch

API_KEY_VARIABLE = "DCMIRROR_ELASTICSEARCH_API_KEY"
PASSWORD_VARIABLE = "DCMIRROR_ELASTICSEARCH_PASSWORD"

_JSON = "application/vnd.elasticsearch+json"
_NDJSON = "application/vnd.elasticsearch+x-ndjson"
_HEADERS = {"accept": f"{_JSON}; compatible-with=8"}
_JSON_HEADERS = {**_HEADERS, "content-type": f"{_JSON}; compatible-with=8"}
_NDJSON_HEADERS = {**_HEADERS, "content-type": f"{_NDJSON}; compatible-with=8"}

# Longer reasons quote whole documents.
_REASON_CHARACTERS = 500


class ElasticUnreachableError(ElasticError):
    """No answer, or none that can be read: it may help to try again."""


class ElasticRefusedError(ElasticError):
    """The server answered with an error.

    Args:
        status: the HTTP status.
        kind: the error's type, such as "security_exception"; "" where it has none.
        reason: the server's own words.
    """

    def __init__(self, message: str, status: int, kind: str, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.reason = reason


class _Verbatim(elastic_transport.Serializer):
    """Bulk bodies are made already; the client's own way copies them twice."""

    mimetype = _NDJSON

    def dumps(self, data: Any) -> bytes:
        assert isinstance(data, bytes)
        return data


class ElasticClient:
    """One connection per address, kept; no retries and no sniffing.

    Credentials that lie in files are read again when the file changes.
    """

    def __init__(self, settings: Elasticsearch, credential: _Credential) -> None:
        self._credential = credential
        self._compresses = settings.compress
        self._where = ", ".join(settings.urls)
        self._client = elasticsearch.Elasticsearch(
            list(settings.urls),
            serializers={
                _JSON: elastic_transport.OrjsonSerializer(),
                _NDJSON: _Verbatim(),
            },
            ssl_context=_tls(settings),
            request_timeout=settings.timeout,
            max_retries=0,
            retry_on_timeout=False,
            sniff_on_start=False,
        )

    def __repr__(self) -> str:
        return f"<ElasticClient {self._where}>"

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON.

        Raises:
            ElasticRefusedError: an answer, but an error.
            ElasticUnreachableError: no answer.
        """
        headers = _HEADERS if body is None else _JSON_HEADERS
        return self._perform(method, path, body, query, headers)

    def bulk(self, body: bytes, query: Mapping[str, str]) -> Any:
        """The answer to action and document lines, the last with its newline.

        Raises:
            ElasticRefusedError, ElasticUnreachableError: as ``ask``.
        """
        headers = _NDJSON_HEADERS
        if self._compresses:
            # The client itself would compress with level 9.
            body, headers = (
                gzip.compress(body, 1),
                {**headers, "content-encoding": "gzip"},
            )
        return self._perform("POST", "/_bulk", body, query, headers)

    def has_new_credential(self) -> bool:
        """Whether another key or password lies in the file than the one in use."""
        return self._credential.has_changed()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _perform(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> Any:
        authorization = self._credential.header()
        if authorization is not None:
            headers = {**headers, "authorization": authorization}
        try:
            answer = self._client.perform_request(
                method, path, params=query, headers=headers, body=body
            )
        except elasticsearch.UnsupportedProductError as exc:
            raise ElasticRefusedError(
                f"{self._where} is not Elasticsearch", 200, "not_elasticsearch", ""
            ) from exc
        except elasticsearch.ApiError as exc:
            raise self._refusal(exc) from exc
        except elasticsearch.TransportError as exc:
            raise ElasticUnreachableError(f"{self._where}: {_cause(exc)}") from exc
        return answer.body

    def _refusal(self, exc: elasticsearch.ApiError) -> ElasticRefusedError:
        kind, reason = _error_of(exc.body)
        if kind == "media_type_header_exception":
            text = "the server is older than Elasticsearch 8 or newer than 9"
        else:
            words = ": ".join(filter(None, (kind, reason)))
            text = f"HTTP {exc.status_code} {words}".rstrip()
        return ElasticRefusedError(
            f"{self._where}: {text}", exc.status_code, kind, reason
        )


def connect(
    settings: Elasticsearch,
    *,
    environ: Mapping[str, str] | None = None,
    api_key: str | None = None,
) -> ElasticClient:
    """A client for these settings; it has not spoken to the server yet.

    The credential is the first that is there of: ``api_key``, the key file, user and
    password (file or $DCMIRROR_ELASTICSEARCH_PASSWORD),
    $DCMIRROR_ELASTICSEARCH_API_KEY.  An API key is ``id:key``, or that in base64.

    Raises:
        ElasticError: a file cannot be read, or no address is set.
    """
    if not settings.urls:
        raise ElasticError("[elasticsearch] urls: no address is set")
    # What the library logs, the callers say themselves.
    logging.getLogger("elastic_transport").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=elasticsearch.ElasticsearchWarning)
    environ = os.environ if environ is None else environ
    return ElasticClient(settings, _Credential(settings, environ, api_key))


def authorization(settings: Elasticsearch, environ: Mapping[str, str]) -> str | None:
    """The header that says who we are, for those who ask Kibana.

    Raises:
        ElasticError: a file cannot be read.
    """
    return _Credential(settings, environ, None).header()


class _Credential:
    """The authorization header, as the file has it now."""

    def __init__(
        self, settings: Elasticsearch, environ: Mapping[str, str], api_key: str | None
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._api_key = api_key
        self._path = None if api_key else _secret_file(settings)
        self._seen = _signature(self._path)
        self._header = self._make()

    def header(self) -> str | None:
        """What to send; a file that became unreadable leaves it as it is."""
        if self.has_changed():
            self._seen = _signature(self._path)
            with suppress(ElasticError):
                self._header = self._make()
        return self._header

    def has_changed(self) -> bool:
        """Whether the file is another one than the one in use."""
        return self._path is not None and _signature(self._path) != self._seen

    def _make(self) -> str | None:
        settings = self._settings
        if self._api_key:
            return _api_key_header(self._api_key)
        if settings.api_key_file is not None:
            return _api_key_header(_read_secret(settings.api_key_file))
        if settings.username is not None:
            return f"Basic {_base64(f'{settings.username}:{self._password()}')}"
        key = self._environ.get(API_KEY_VARIABLE)
        return _api_key_header(key) if key else None

    def _password(self) -> str:
        if self._settings.password_file is not None:
            return _read_secret(self._settings.password_file)
        password = self._environ.get(PASSWORD_VARIABLE)
        if password is None:
            raise ElasticError(
                "[elasticsearch] username: set password_file or "
                f"${PASSWORD_VARIABLE} too"
            )
        return password


def _secret_file(settings: Elasticsearch) -> Path | None:
    if settings.api_key_file is not None:
        return settings.api_key_file
    return settings.password_file if settings.username is not None else None


def _signature(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "not text"
        raise ElasticError(f"{path}: cannot read the credential: {reason}") from exc
    if not secret or "\n" in secret:
        raise ElasticError(f"{path}: is not one line with a credential")
    return secret


def _api_key_header(key: str) -> str:
    key = key.strip()
    return f"ApiKey {_base64(key) if ':' in key else key}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _tls(settings: Elasticsearch) -> Any:
    """The system's CAs, where the client would take those of certifi."""
    if not any(url.startswith("https:") for url in settings.urls):
        return elastic_transport.client_utils.DEFAULT
    try:
        return ssl.create_default_context(cafile=settings.ca_certs)
    except (OSError, ssl.SSLError) as exc:
        raise ElasticError(
            f"{settings.ca_certs}: cannot read CA certificates: {exc}"
        ) from exc


def _error_of(body: object) -> tuple[str, str]:
    """Type and reason of an error answer; proxies answer with anything."""
    error = body.get("error") if isinstance(body, dict) else body
    if isinstance(error, dict):
        kind, reason = str(error.get("type", "")), str(error.get("reason", ""))
    else:
        kind, reason = "", str(error or "")
    return kind, " ".join(reason.split())[:_REASON_CHARACTERS]


def _cause(exc: elasticsearch.TransportError) -> str:
    """The deepest words, without the library's repr of its pools."""
    if isinstance(exc, elasticsearch.SerializationError):
        return "an answer that is not JSON"
    cause: BaseException = exc
    while cause.__cause__ is not None and str(cause.__cause__):
        cause = cause.__cause__
    text = " ".join(str(cause).split())[:_REASON_CHARACTERS]
    return text or type(exc).__name__
