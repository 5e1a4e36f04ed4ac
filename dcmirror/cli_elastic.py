"""The commands below ``dcmirror elastic``."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dcmirror import config
from dcmirror.cli_help import epilog
from dcmirror.cli_options import common
from dcmirror.config_checks import expectation, http_url
from dcmirror.errors import ExitStatus
from dcmirror.settings import Elasticsearch

_FILE = click.Path(path_type=Path)
_DAYS = click.IntRange(min=1, max=36500)


def _url(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    for each in value if isinstance(value, tuple) else filter(None, [value]):
        if not http_url(each):
            raise click.BadParameter(f"{each!r}: expected {expectation(http_url)}")
    return value


@click.group()
def elastic() -> None:
    """Elasticsearch and Kibana, where the journal's events are shipped to."""


@elastic.command("setup", epilog=epilog("elastic setup"))
@click.option(
    "--url",
    "urls",
    multiple=True,
    callback=_url,
    metavar="URL",
    help="Address of Elasticsearch; default [elasticsearch] urls.",
)
@click.option(
    "--api-key-file",
    type=_FILE,
    metavar="FILE",
    help="API key of an administrator; default [elasticsearch] api_key_file.",
)
@click.option(
    "--user",
    metavar="NAME",
    help="An administrator, in place of an API key; asks for the password.",
)
@click.option(
    "--password-file",
    type=_FILE,
    metavar="FILE",
    help="File with that user's password.",
)
@click.option(
    "--ca-certs",
    type=_FILE,
    metavar="FILE",
    help="CA certificates of the server; default [elasticsearch] ca_certs.",
)
@click.option(
    "--keep-days",
    type=_DAYS,
    metavar="N",
    help="Delete events after so many days. Default: as it is, at first 365.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=0, max=100),
    metavar="N",
    help="Copies of each index besides the first; 0 for a cluster of one node. "
    "Default: as it is, at first what the cluster does by itself.",
)
@click.option(
    "--rollover",
    is_flag=True,
    help="Begin a new index where the old one has fields of other types.",
)
@click.option(
    "--make-api-key",
    "key_file",
    type=_FILE,
    metavar="FILE",
    help="Make an API key that may only add events, for [elasticsearch] api_key_file.",
)
@click.option(
    "--key-days",
    type=_DAYS,
    metavar="N",
    help="Days until that key expires. Default: never.",
)
@click.option(
    "--kibana",
    metavar="URL",
    callback=_url,
    help="Import the dashboards there; a space is https://HOST/s/SPACE.",
)
@click.option(
    "--kibana-api-key-file",
    type=_FILE,
    metavar="FILE",
    help="API key for Kibana. Default: the credential for Elasticsearch.",
)
@click.option(
    "--kibana-file",
    type=_FILE,
    metavar="FILE",
    help="Write the dashboards to a file, to be imported by hand. "
    "Default without --kibana: dcmirror-kibana.ndjson.",
)
@click.option("--no-kibana", is_flag=True, help="No dashboards at all.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only print the requests, as Kibana's console takes them.",
)
@click.option(
    "--config",
    "-c",
    "config_path",
    type=_FILE,
    metavar="FILE",
    help=f"Configuration; default ${config.ENVIRONMENT}, then {config.DEFAULT_PATH}.",
)
@click.option("--quiet", "-q", count=True, help="Say only what changes.")
def setup(
    urls: tuple[str, ...],
    api_key_file: Path | None,
    user: str | None,
    password_file: Path | None,
    ca_certs: Path | None,
    keep_days: int | None,
    replicas: int | None,
    rollover: bool,
    key_file: Path | None,
    key_days: int | None,
    kibana: str | None,
    kibana_api_key_file: Path | None,
    kibana_file: Path | None,
    no_kibana: bool,
    dry_run: bool,
    config_path: Path | None,
    quiet: int,
) -> ExitStatus:
    """Make Elasticsearch and Kibana ready for dcmirror's events.

    Installs the index template of the data streams logs-dcmirror.transfer-* and
    logs-dcmirror.health-*, a lifecycle that deletes old events, and dashboards. What
    is right already stays as it is, so it may be run again at any time, and should be
    after each update of dcmirror.

    Whoever runs it needs the cluster privileges monitor, manage_index_templates and
    manage_ilm, and the index privilege manage on logs-dcmirror.*; for a key
    manage_own_api_key too.
    """
    from dcmirror.commands import elastic_setup as command

    settings = _settings(config_path, urls)
    settings = _as_admin(settings, api_key_file, user, password_file)
    if ca_certs is not None:
        settings = replace(settings, ca_certs=ca_certs)
    for_kibana = replace(
        settings, api_key_file=kibana_api_key_file or settings.api_key_file
    )
    options = command.SetupOptions(
        elasticsearch=settings,
        environ=_environ(user, password_file),
        keep_days=keep_days,
        replicas=replicas,
        rolls_over=rollover,
        new_key=_new_key(key_file, key_days),
        dashboards=None
        if no_kibana
        else command.Dashboards(kibana, for_kibana, kibana_file),
        dry_run=dry_run,
        verbosity=-quiet,
        echo=click.echo,
    )
    return command.setup(options)


@elastic.command("resend", epilog=epilog("elastic resend"))
@click.option("--dry-run", is_flag=True, help="Only say what was refused, and why.")
@common
def resend(
    dry_run: bool,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
) -> ExitStatus:
    """Send again what Elasticsearch refused for good.

    A document that the server refuses, while it takes others of the same data stream,
    is set aside in dead-letters.ndjson, so that it keeps back nothing. When the reason
    is gone, say a mapping that did not fit, this sends each of them under the id it
    had, so that none is there twice. What is refused again is set aside again.

    The newest 8 to 16 MiB are kept; `dcmirror status` and the log say how many had to
    go for them.

    Needs no other credential than shipping does, and may run beside it.
    """
    from dcmirror.commands import elastic_resend as command

    path = config.locate(config_path, os.environ)
    options = command.ResendOptions(
        settings=config.load(path, os.environ),
        instance=instance,
        dry_run=dry_run,
        verbosity=verbose - quiet,
        echo=click.echo,
    )
    return command.resend(options)


def _settings(config_path: Path | None, urls: tuple[str, ...]) -> Elasticsearch:
    """Those of the configuration; an administrator's host may have none."""
    path = config.locate(config_path, os.environ)
    if urls and config_path is None and not path.exists():
        return Elasticsearch(urls=urls)
    settings = config.load(path, os.environ).elasticsearch
    return replace(settings, urls=urls) if urls else settings


def _as_admin(
    settings: Elasticsearch,
    api_key_file: Path | None,
    user: str | None,
    password_file: Path | None,
) -> Elasticsearch:
    if api_key_file is not None and user is not None:
        raise click.UsageError("--api-key-file and --user exclude each other")
    if user is None and password_file is not None:
        raise click.UsageError("--password-file needs --user")
    if user is not None:
        return replace(
            settings, api_key_file=None, username=user, password_file=password_file
        )
    return replace(settings, api_key_file=api_key_file or settings.api_key_file)


def _environ(user: str | None, password_file: Path | None) -> dict[str, str]:
    """With the password, which is asked for and never taken from the command line."""
    from dcmirror.adapters.elastic_client import PASSWORD_VARIABLE

    environ = dict(os.environ)
    if user is None or password_file is not None or PASSWORD_VARIABLE in environ:
        return environ
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"--user needs --password-file or ${PASSWORD_VARIABLE} "
            "where nobody can type"
        )
    password = click.prompt(f"Password of {user}", hide_input=True, err=True)
    return {**environ, PASSWORD_VARIABLE: password}


def _new_key(file: Path | None, days: int | None) -> Any:
    from dcmirror.commands.elastic_setup import NewKey

    if file is None:
        if days is not None:
            raise click.UsageError("--key-days needs --make-api-key")
        return None
    return NewKey(f"dcmirror-{socket.gethostname()}", file, days)
