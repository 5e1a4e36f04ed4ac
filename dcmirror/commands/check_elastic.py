"""What ``dcmirror check`` asks of Elasticsearch.

Nothing here fails: shipping never harms a transfer, and `watch` starts without it.
What is not well is a warning, for the person who will miss the events later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace

from dcmirror import __version__
from dcmirror.adapters.elastic_admin import ElasticAdmin
from dcmirror.adapters.elastic_client import ElasticRefusedError
from dcmirror.commands.check_report import Finding, duration, ok, warn
from dcmirror.core.elastic_plan import Choices, plan, rivals
from dcmirror.errors import ElasticError
from dcmirror.settings import Elasticsearch

_SERVER = "Elasticsearch"
_RIGHTS = "Elasticsearch rights"
_TEMPLATES = "Elasticsearch templates"
_SPACE = "Elasticsearch space"
_NEW_KEY = "make a key: `dcmirror elastic setup --make-api-key FILE`"
_SETUP = "run `dcmirror elastic setup`"
_SOON = 14 * 86400.0
_MEANWHILE = "the journal keeps the events meanwhile"


def check_elastic(
    settings: Elasticsearch, environ: Mapping[str, str], seconds: float
) -> Iterator[Finding]:
    """Server, rights, templates and space; nothing where nothing is shipped."""
    if not settings.urls:
        return
    settings = replace(settings, timeout=min(settings.timeout, seconds))
    try:
        with closing(ElasticAdmin(settings, environ)) as admin:
            yield _check_server(admin)
            yield _check_rights(admin, settings.namespace, time.time())
            yield from _check_templates(admin, settings.namespace)
            yield from _check_space(admin)
    except ElasticError as error:
        yield warn(_SERVER, str(error), _MEANWHILE)


def _check_server(admin: ElasticAdmin) -> Finding:
    try:
        server = admin.look()
    except ElasticRefusedError as refusal:
        if refusal.status != 403:
            raise
        return ok(_SERVER, f"{admin.where} knows us")  # a key for shipping sees no more
    return ok(_SERVER, f"{server.title} at {admin.where}")


def _check_rights(admin: ElasticAdmin, namespace: str, now: float) -> Finding:
    lacking = admin.lacking(namespace)
    if lacking is None:
        return ok(_RIGHTS, "everybody may write there: its security is off")
    if lacking:
        return warn(_RIGHTS, f"we lack {', '.join(lacking)}", _NEW_KEY)
    expiry = admin.key_expiry()
    if expiry is None:
        return ok(_RIGHTS, "we may add events")
    left = f"the key is good for {duration(expiry - now)}"
    if expiry - now < _SOON:
        return warn(_RIGHTS, f"we may add events, but {left} only", _NEW_KEY)
    return ok(_RIGHTS, f"we may add events; {left}")


def _check_templates(admin: ElasticAdmin, namespace: str) -> Iterator[Finding]:
    try:
        there = admin.installed()
    except ElasticRefusedError as refusal:
        if refusal.status != 403:
            raise
        yield ok(_TEMPLATES, "not for our eyes; an administrator sees them")
        return
    others = rivals(there, namespace)
    if others:
        text = f"{others[0]} claims our data streams too, with as high a priority"
        yield warn(_TEMPLATES, text, "narrow its patterns")
    steps = plan(there, Choices(__version__))
    due = [step for step in steps if step.requests or step.needs_attention]
    if due:
        what = ", ".join(f"{step.what} ({step.state})" for step in due)
        yield warn(_TEMPLATES, what, _SETUP)
    elif not others:
        yield ok(_TEMPLATES, "as this version wants them")


def _check_space(admin: ElasticAdmin) -> Iterator[Finding]:
    try:
        blocked = admin.blocked()
    except ElasticRefusedError:
        return  # only an administrator may look
    if blocked:
        text = f"{blocked[0]} takes nothing more: its node's disk was too full"
        yield warn(_SPACE, text, f"make space there; {_MEANWHILE}")
