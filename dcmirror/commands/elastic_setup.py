"""``dcmirror elastic setup``: makes a cluster ready for our events, and says how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dcmirror import __version__
from dcmirror.adapters.elastic_admin import ElasticAdmin
from dcmirror.adapters.elastic_client import ElasticUnreachableError
from dcmirror.adapters.key_file import new_key_file
from dcmirror.adapters.kibana import IMPORT, Kibana, write_objects
from dcmirror.core.elastic_plan import Choices, Installed, Step, plan, rivals
from dcmirror.core.elastic_templates import api_key
from dcmirror.core.escapes import shown
from dcmirror.core.kibana_objects import saved_objects_ndjson
from dcmirror.errors import ConfigError, ElasticError, ExitStatus
from dcmirror.settings import Elasticsearch

DEFAULT_KIBANA_FILE = Path("dcmirror-kibana.ndjson")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made: its name there, its file here, days it is good for."""

    name: str
    file: Path
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Dashboards:
    """Where Kibana's objects go: to a Kibana, or to a file for a person."""

    url: str | None = None
    settings: Elasticsearch = field(default_factory=Elasticsearch)
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What the command line says; ``echo`` prints a line.

    ``environ`` may hold the password that was asked for.
    """

    elasticsearch: Elasticsearch
    echo: Callable[[str], None]
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    keep_days: int | None = None
    replicas: int | None = None
    rolls_over: bool = False
    new_key: NewKey | None = None
    dashboards: Dashboards | None = None
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
    if options.new_key is not None and options.new_key.file.exists():
        raise ConfigError(f"{options.new_key.file}: exists already; name a new file")
    with closing(ElasticAdmin(options.elasticsearch, options.environ)) as admin:
        server = _server(admin)
        if options.verbosity >= 0:
            options.echo(server)
        for step in _steps(options, admin):
            for request in step.requests:
                admin.ask(request)
            _tell(options, step)
        if options.new_key is not None:
            _make_key(options, admin, options.new_key)
    _bring_dashboards(options)
    return ExitStatus.DONE


def _server(admin: ElasticAdmin) -> str:
    server = admin.look()
    cluster = f" (cluster {server.cluster})" if server.cluster else ""
    return shown(f"{server.title} at {admin.where}{cluster}")


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
    if step.verb != "unchanged" or options.verbosity >= 0:
        options.echo(step.line)


def _make_key(options: SetupOptions, admin: ElasticAdmin, key: NewKey) -> None:
    """The file first: a key that nobody can keep must not be made."""
    with new_key_file(key.file) as file:
        key_id, secret = admin.make_api_key(key.name, key.days)
        try:
            file.write(secret)
        except OSError as error:
            admin.drop_api_key(key_id)
            raise ConfigError(f"{key.file}: {error.strerror}") from error
    ends = f"for {key.days} days" if key.days else "without an end"
    detail = f"id {key_id}, {ends}, may only add events; kept in {key.file}"
    options.echo(Step("created", f"API key {key.name}", detail).line)


def _bring_dashboards(options: SetupOptions) -> None:
    boards = options.dashboards
    if boards is None:
        return
    ndjson = saved_objects_ndjson()
    if boards.url is not None:
        kibana = Kibana(boards.url, boards.settings, options.environ)
        kibana.check_version()
        count = kibana.install(ndjson)
        _tell(options, Step("imported", f"{count} Kibana objects", kibana.url))
    if boards.file is not None or boards.url is None:
        _write_dashboards(options, boards.file or DEFAULT_KIBANA_FILE, ndjson)


def _write_dashboards(options: SetupOptions, path: Path, ndjson: str) -> None:
    verb = "written" if write_objects(path, ndjson) else "unchanged"
    hint = "import it in Kibana: Stack Management, Saved Objects, Import"
    _tell(options, Step(verb, f"Kibana objects in {path}", hint))


def _dry_run(options: SetupOptions) -> ExitStatus:
    """All that would be sent, as Kibana's console takes it; the rest is comments."""
    for step in _planned(options):
        is_due = step.requests or step.verb in ("imported", "written")
        line = " ".join(step.line.split())  # no column to keep
        options.echo(f"\n# to be {line}" if is_due else f"# {line}")
        for request in step.requests:
            options.echo(request.console)
    return ExitStatus.DONE


def _planned(options: SetupOptions) -> Iterator[Step]:
    yield from _plan_of_templates(options)
    if options.new_key is not None:
        key = options.new_key
        request = api_key(key.name, key.days)
        yield Step("created", f"API key {key.name}", f"for {key.file}", (request,))
    boards = options.dashboards
    if boards is not None and boards.url is not None:
        url = boards.url.rstrip("/")
        yield Step("imported", "Kibana objects", f"POST {url}{IMPORT}")
    elif boards is not None:
        path = boards.file or DEFAULT_KIBANA_FILE
        yield Step("written", f"Kibana objects in {path}")


def _plan_of_templates(options: SetupOptions) -> list[Step]:
    if not options.elasticsearch.urls:
        options.echo("# no Elasticsearch is configured; everything it would take:")
        return plan(Installed(), options.choices)
    with closing(ElasticAdmin(options.elasticsearch, options.environ)) as admin:
        try:
            options.echo(f"# {_server(admin)}: this only reads")
            return _steps(options, admin)
        except ElasticUnreachableError as error:
            options.echo(f"# {shown(str(error))}; everything it would take:")
            return plan(Installed(), options.choices)
