"""Our template in a real Elasticsearch, as ``dcmirror elastic setup`` puts it there."""

from __future__ import annotations

import contextlib

import dcmirror
from contracts.shipping import Place
from dcmirror.adapters.elastic_admin import ElasticAdmin
from dcmirror.core.elastic_plan import Choices, plan
from dcmirror.settings import Elasticsearch as Settings
from servers.elasticsearch import Elasticsearch


def settings_of(server: Elasticsearch, **more) -> Settings:
    """Settings for a server; with its user and password where it has them."""
    values = {"urls": (server.url,), "ca_certs": server.ca, "timeout": 60.0}
    return Settings(**values | more)


def install_templates(server: Elasticsearch) -> None:
    settings = settings_of(server, username=server.user or None)
    environ = {"DCMIRROR_ELASTICSEARCH_PASSWORD": server.password}
    with contextlib.closing(ElasticAdmin(settings, environ)) as admin:
        choices = Choices(dcmirror.__version__, replicas=0)
        for step in plan(admin.installed(), choices):
            for request in step.requests:
                admin.ask(request)


def real_place(
    server: Elasticsearch, settings: Settings, most_bytes: int | None = None
) -> Place:
    namespace = server.namespace()
    pattern = f"logs-dcmirror.*-{namespace}"
    return Place(
        settings,
        namespace,
        lambda: {hit["_id"]: hit["_source"] for hit in server.documents(pattern)},
        lambda event: event | {"host": "not an object"},
        most_bytes,
    )
