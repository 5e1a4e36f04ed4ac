"""What ``elastic setup`` and ``check`` ask of Elasticsearch, and how it may refuse."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dcmirror.adapters.elastic_client import (
    ElasticRefusedError,
    ElasticUnreachableError,
    connect,
)
from dcmirror.core import elastic_templates as templates
from dcmirror.core.elastic_plan import Installed, Stream, flat_settings
from dcmirror.core.elastic_templates import Body, Request
from dcmirror.errors import ElasticError
from dcmirror.settings import Elasticsearch

_OLDEST = ".".join(map(str, templates.OLDEST))
_FLOOD = "index.blocks.read_only_allow_delete"
_NO_SECURITY = "no handler found"
_WRONG_CA = "certificate verify failed"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the server says it is."""

    version: str
    cluster: str
    is_serverless: bool = False

    @property
    def title(self) -> str:
        if self.is_serverless:
            return "Elasticsearch Serverless"
        return f"Elasticsearch {self.version}"


class ElasticAdmin:
    """A conversation with one cluster.

    Args:
        settings: where it is, and who asks.
        environ: what ``connect`` looks into for secrets that are in no file.
    """

    def __init__(self, settings: Elasticsearch, environ: Mapping[str, str]) -> None:
        self._client = connect(settings, environ=environ)
        self.where = ", ".join(settings.urls)
        self._others = len(settings.urls) - 1

    def close(self) -> None:
        self._client.close()

    def ask(self, request: Request) -> Any:
        """The answer's body.

        Raises:
            ElasticUnreachableError: no server answers, or it is not who it should be.
            ElasticRefusedError: it answered, with an error.
        """
        for _ in range(self._others if request.is_repeatable else 0):
            # The client has marked the address that failed, and asks another one.
            with contextlib.suppress(ElasticUnreachableError):
                return self._ask(request)
        return self._ask(request)

    def _ask(self, request: Request) -> Any:
        with self._explained():
            return self._client.ask(request.method, f"/{request.path}", request.body)

    def find(self, path: str) -> Any:
        """The answer to a GET, None where there is no such thing."""
        try:
            return self.ask(Request("GET", path))
        except ElasticRefusedError as refusal:
            if refusal.status == 404:
                return None
            raise

    def look(self) -> ServerInfo:
        """Who answers.

        Raises:
            ElasticError: it is too old.
        """
        info = self.ask(Request("GET", ""))
        version = info["version"]
        flavor = version.get("build_flavor")
        server = ServerInfo(
            version["number"], info.get("cluster_name", ""), flavor == "serverless"
        )
        if not server.is_serverless and is_too_old(server.version):
            raise ElasticError(self._too_old(server.version))
        return server

    def _too_old(self, version: str) -> str:
        return (
            f"Elasticsearch at {self.where} is {version}; "
            f"dcmirror needs {_OLDEST} or later"
        )

    def installed(self) -> Installed:
        """Everything under our names."""
        has_ilm, policy = self._policy()
        components = {}
        for name in (templates.SETTINGS, templates.MAPPINGS):
            found = self.find(f"_component_template/{name}")
            for entry in (found or {}).get("component_templates", ()):
                components[entry["name"]] = entry["component_template"]
        every = self.find("_index_template") or {}
        index_templates = {
            entry["name"]: entry["index_template"]
            for entry in every.get("index_templates", ())
        }
        return Installed(
            has_ilm,
            policy,
            components,
            index_templates,
            tuple(self._streams()),
            self._data_nodes() if has_ilm else None,
        )

    def _data_nodes(self) -> int | None:
        with contextlib.suppress(ElasticRefusedError):
            health = self.ask(Request("GET", "_cluster/health"))
            return int(health["number_of_data_nodes"])
        return None

    def _policy(self) -> tuple[bool, Body | None]:
        """Whether there is lifecycle management at all, and our policy."""
        try:
            found = self.ask(Request("GET", f"_ilm/policy/{templates.NAME}"))
        except ElasticRefusedError as refusal:
            if refusal.kind == "resource_not_found_exception":
                return True, None
            if refusal.status in (400, 404, 405, 410):
                return False, None  # no such endpoint: Serverless
            raise
        return True, found[templates.NAME]["policy"]

    def _streams(self) -> Iterator[Stream]:
        found = self.find(f"_data_stream/{templates.STREAMS}") or {}
        for stream in found.get("data_streams", ()):
            newest = stream["indices"][-1]["index_name"]
            index = (self.find(newest) or {}).get(newest, {})
            mapping = index.get("mappings", {})
            settings = flat_settings(index.get("settings", {}))
            replicas = settings.get("index.number_of_replicas")
            yield Stream(
                name=stream["name"],
                properties=mapping.get("properties", {}),
                is_ours=str(mapping.get("dynamic", "true")).lower() == "false",
                replicas=None if replicas is None else int(replicas),
                retention=(stream.get("lifecycle") or {}).get("data_retention"),
            )

    def blocked(self) -> list[str]:
        """Indices of ours that take nothing more: their node's disk is full."""
        path = (
            f"{templates.STREAMS}/_settings/index.blocks.*"
            "?flat_settings=true&expand_wildcards=all"
        )
        found = self.find(path) or {}
        return [
            index
            for index, entry in found.items()
            if entry["settings"].get(_FLOOD) == "true"
        ]

    def lacking(self, namespace: str) -> list[str] | None:
        """Privileges that we need to ship and do not have; None: nobody needs any."""
        try:
            answer = self.ask(templates.may_write(namespace))
        except ElasticRefusedError as refusal:
            if _NO_SECURITY in refusal.reason:
                return None
            raise
        return [
            f"{privilege} on {stream}"
            for stream, rights in answer["index"].items()
            for privilege, is_granted in rights.items()
            if not is_granted
        ]

    def key_expiry(self) -> float | None:
        """When the API key that we use expires, in seconds since the epoch.

        A key may look at itself, and at no other, without any privilege.
        """
        with contextlib.suppress(ElasticRefusedError):
            who = self.ask(Request("GET", "_security/_authenticate"))
            key_id = who.get("api_key", {}).get("id")
            if key_id is not None:
                found = self.ask(Request("GET", f"_security/api_key?id={key_id}"))
                expiration = found["api_keys"][0].get("expiration")
                return None if expiration is None else expiration / 1000
        return None

    def make_api_key(self, name: str, days: int | None) -> tuple[str, str]:
        """A key that can only add events: its id, and itself."""
        try:
            answer = self.ask(templates.api_key(name, days))
        except ElasticRefusedError as refusal:
            if "derived api keys" in refusal.reason.lower():
                raise ElasticError(
                    "an API key cannot make another one with rights: give --user"
                ) from refusal
            if _NO_SECURITY in refusal.reason:
                raise ElasticError(
                    f"Elasticsearch at {self.where} has its security off: "
                    "it has no API keys, and everybody may write there"
                ) from refusal
            raise
        return answer["id"], answer["encoded"]

    def drop_api_key(self, key_id: str) -> None:
        """Make a key useless."""
        self.ask(Request("DELETE", "_security/api_key", {"ids": [key_id]}))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """What goes wrong, as one line that names the place and the remedy."""
        try:
            yield
        except ElasticRefusedError as refusal:
            text = self._explain(refusal)
            raise ElasticRefusedError(
                text, refusal.status, refusal.kind, refusal.reason
            ) from refusal
        except ElasticUnreachableError as error:
            hint = "; is its CA in [elasticsearch] ca_certs, or in --ca-certs?"
            text = f"Elasticsearch cannot be reached at {error}"
            is_wrong_ca = _WRONG_CA in text and "hostname" not in text.lower()
            raise ElasticUnreachableError(
                text + (hint if is_wrong_ca else "")
            ) from error

    def _explain(self, refusal: ElasticRefusedError) -> str:
        where, reason = self.where, refusal.reason
        if refusal.kind == "not_elasticsearch":
            return self._stranger(getattr(refusal.__cause__, "body", None))
        if refusal.status == 401:
            return f"Elasticsearch at {where} does not know us (401): {reason}"
        if refusal.status == 403:
            return f"Elasticsearch at {where} refuses (403): {missing(reason)}"
        if refusal.kind == "media_type_header_exception":
            return f"Elasticsearch at {where} is too old or too new for this client"
        return f"Elasticsearch at {where} says {refusal.status}: {reason}"

    def _stranger(self, body: Any) -> str:
        """Who it is instead: what forked off, or what did not say its name yet."""
        version = body.get("version") if isinstance(body, dict) else None
        version = version if isinstance(version, dict) else {}
        number = str(version.get("number", ""))
        if str(version.get("distribution", "")).lower() == "opensearch":
            return (
                f"{self.where} is OpenSearch {number}; "
                f"dcmirror needs Elasticsearch {_OLDEST} or later"
            )
        if number and is_too_old(number):
            return self._too_old(number)
        return f"what answers at {self.where} is not Elasticsearch"


def is_too_old(version: str) -> bool:
    """Whether it lacks what our templates and objects need."""
    numbers = [int(number) for number in re.findall(r"[0-9]+", version)[:2]]
    return tuple(numbers) < templates.OLDEST


def missing(reason: str) -> str:
    """Which privilege would have helped, where Elasticsearch says it."""
    found = re.search(
        r"for (user|API key id) \[([^\]]*)\].*"
        r"granted by the (\w+) privileges? \[([^\]]*)\]",
        reason,
    )
    if found is None:
        return reason
    who, name, kind, names = found.groups()
    first, *others = names.split(",")
    also = f" (or {', '.join(others)})" if others else ""
    return f"{who} {name} needs the {kind} privilege {first}{also}"
