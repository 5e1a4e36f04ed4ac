"""``dcmirror elastic setup``: makes a cluster ready for our events, and says how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dcmirror import __version__
from dcmirror.adapters.elastic_admin import ElasticAdmin
from dcmirror.adapters.elastic_client import ElasticUnreachableError
from dcmirror.core.elastic_plan import Choices, Installed, Step, plan, rivals
from dcmirror.errors import ConfigError, ElasticError, ExitStatus
from dcmirror.settings import Elasticsearch


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What the command line says; ``echo`` prints a line."""

    elasticsearch: Elasticsearch
    echo: Callable[[str], None]
    password: str | None = field(default=None, repr=False)
    keep_days: int | None = None
    replicas: int | None = None
    rolls_over: bool = False
    dry_run: bool = False
    verbosity: int = 0

    @property
    def choices(self) -> Choices:
        return Choices(__version__, self.keep_days, self.replicas, self.rolls_over)


def setup(options: SetupOptions) -> ExitStatus:
    """Install what is missing, and leave what is right."""
    if options.dry_run:
        return _dry_run(options)
    if not options.elasticsearch.urls:
        raise ConfigError("[elasticsearch] urls is empty; set it, or give --url")
    admin = ElasticAdmin(options.elasticsearch, options.password)
    try:
        _tell_server(options, admin)
        for step in _steps(options, admin):
            for request in step.requests:
                admin.ask(request)
            _tell(options, step)
    finally:
        admin.close()
    return ExitStatus.DONE


def _tell_server(options: SetupOptions, admin: ElasticAdmin) -> None:
    server = admin.look()
    cluster = f" (cluster {server.cluster})" if server.cluster else ""
    options.echo(f"{server.title} at {admin.where}{cluster}")


def _steps(options: SetupOptions, admin: ElasticAdmin) -> list[Step]:
    there = admin.installed()
    others = rivals(there, options.elasticsearch.namespace)
    if others:
        raise ElasticError(
            f"index template {others[0]} claims our data streams with a priority as "
            "high as ours or higher: narrow its patterns, or lower its priority"
        )
    return plan(there, options.choices)


def _tell(options: SetupOptions, step: Step) -> None:
    if step.requests or step.needs_attention or options.verbosity >= 0:
        options.echo(step.line)


def _dry_run(options: SetupOptions) -> ExitStatus:
    """All that would be sent, as Kibana's console takes it; the rest is comments."""
    for step in _planned(options):
        options.echo(f"\n# {step.line}")
        for request in step.requests:
            options.echo(request.console)
    return ExitStatus.DONE


def _planned(options: SetupOptions) -> list[Step]:
    if not options.elasticsearch.urls:
        options.echo("# no Elasticsearch is configured; everything it would take:")
        return plan(Installed(), options.choices)
    admin = ElasticAdmin(options.elasticsearch, options.password)
    try:
        server = admin.look()
        options.echo(f"# {server.title} at {admin.where}: nothing is sent but reads")
        return _steps(options, admin)
    except ElasticUnreachableError as error:
        options.echo(f"# {error}; everything it would take:")
        return plan(Installed(), options.choices)
    finally:
        admin.close()
