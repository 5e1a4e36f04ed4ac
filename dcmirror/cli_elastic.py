"""The commands below ``dcmirror elastic``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from dcmirror import config
from dcmirror.cli_help import epilog
from dcmirror.errors import ExitStatus
from dcmirror.settings import Elasticsearch

_FILE = click.Path(path_type=Path)


@click.group()
def elastic() -> None:
    """Elasticsearch and Kibana, where the journal's events are shipped to."""


@elastic.command("setup", epilog=epilog("elastic setup"))
@click.option(
    "--url",
    "urls",
    multiple=True,
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
    type=click.IntRange(min=1),
    metavar="N",
    help="Delete events after so many days. Default: what is set, at first 365.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=0),
    metavar="N",
    help="Copies of each index besides the first; 0 for a cluster of one node. "
    "Default: what is set, at first the cluster's own.",
)
@click.option(
    "--rollover",
    is_flag=True,
    help="Begin a new index where the old one has fields of other types.",
)
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
@click.option("--verbose", "-v", count=True, help="Say more; twice: debug.")
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
    dry_run: bool,
    config_path: Path | None,
    verbose: int,
    quiet: int,
) -> ExitStatus:
    """Make Elasticsearch ready for dcmirror's events.

    Installs the index template of the data streams logs-dcmirror.transfer-* and
    logs-dcmirror.health-*, and a lifecycle that deletes old events. What is right
    already stays as it is, so it may be run again at any time, and should be after an
    update of dcmirror.
    """
    from dcmirror.commands import elastic_setup as command

    settings = _settings(config_path, urls)
    if api_key_file is not None:
        settings = replace(settings, api_key_file=api_key_file)
    if user is not None:
        settings = replace(
            settings, api_key_file=None, username=user, password_file=password_file
        )
    if ca_certs is not None:
        settings = replace(settings, ca_certs=ca_certs)
    options = command.SetupOptions(
        elasticsearch=settings,
        password=_password(user, password_file),
        keep_days=keep_days,
        replicas=replicas,
        rolls_over=rollover,
        dry_run=dry_run,
        verbosity=verbose - quiet,
        echo=click.echo,
    )
    return command.setup(options)


def _settings(config_path: Path | None, urls: tuple[str, ...]) -> Elasticsearch:
    """Those of the configuration; an administrator's host may have none."""
    path = config.locate(config_path, os.environ)
    if urls and config_path is None and not path.exists():
        return Elasticsearch(urls=urls)
    settings = config.load(path, os.environ).elasticsearch
    return replace(settings, urls=urls) if urls else settings


def _password(user: str | None, password_file: Path | None) -> str | None:
    """Asked for on a terminal; never taken from the command line."""
    if user is None or password_file is not None:
        return None
    if not sys.stdin.isatty():
        raise click.UsageError("--user needs --password-file where nobody can type")
    return str(click.prompt(f"Password of {user}", hide_input=True, err=True))
