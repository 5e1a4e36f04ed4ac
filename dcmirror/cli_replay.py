"""The command ``dcmirror replay``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dcmirror import config
from dcmirror.cli_help import epilog
from dcmirror.cli_options import common, namespace_path, since
from dcmirror.config_globs import compiled
from dcmirror.core.choosing import Choice
from dcmirror.core.failures import FailureClass
from dcmirror.errors import ExitStatus


def _globs(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for glob in values:
        try:
            compiled(glob)
        except ValueError as exc:
            raise click.BadParameter(f"{glob!r}: {exc}") from exc
    return values


@click.command(epilog=epilog("replay"))
@click.argument("csv", required=False, type=click.Path(path_type=Path), metavar="[CSV]")
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice([str(each) for each in FailureClass]),
    metavar="CLASS",
    help="Only rows of this failure class; may be given again.",
)
@click.option(
    "--under",
    callback=namespace_path,
    metavar="PATH",
    help="Only files below this namespace path.",
)
@click.option(
    "--path",
    "globs",
    multiple=True,
    callback=_globs,
    metavar="GLOB",
    help="Only files whose path below the folder, or whole namespace path, matches: "
    "'*.raw', 'run7/**'; may be given again.",
)
@click.option(
    "--since",
    callback=since,
    metavar="AGE|TIME",
    help="Only rows newer than an age (90m, 2d) or a time (UTC if it names no zone).",
)
@click.option(
    "--until",
    callback=since,
    metavar="AGE|TIME",
    help="Only rows older than an age or a time.",
)
@click.option(
    "--min-attempts",
    type=click.IntRange(min=0),
    metavar="N",
    help="Only rows that were tried this often or more.",
)
@click.option(
    "--max-attempts",
    type=click.IntRange(min=0),
    metavar="N",
    help="Only rows that were tried this often or less.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most this many rows."
)
@click.option(
    "--from-reconcile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Copy what a report of reconcile (CSV or JSON; - is standard input) names.",
)
@click.option(
    "--from-audit",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Fetch again what a report of audit (CSV or JSON) names.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be tried.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@common
def replay(
    csv: Path | None,
    from_reconcile: Path | None,
    from_audit: Path | None,
    dry_run: bool,
    as_json: bool,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
    **choice: Any,
) -> ExitStatus | int:
    """Try the rows of failed.csv again.

    Only those that fail again stay in the file. Without CSV it takes [local]
    failedtasksfile, without options all its rows. It may run beside `dcmirror watch`,
    and may be stopped at any time: no row is lost.

    With - as CSV, rows come from standard input, nothing is rewritten, and what
    remains of them goes to standard output, in the same format.

    With --from-reconcile or --from-audit it copies what such a report says is missing
    or wrong; what fails becomes a row of failed.csv.

    A file whose copy is right by now costs no transfer, however often its row is tried.
    """
    wanted = _choice(choice)
    reports = {"reconcile": from_reconcile, "audit": from_audit}
    given = {name: path for name, path in reports.items() if path is not None}
    _check_sources(csv, given, wanted)
    if as_json and csv == Path("-") and not dry_run:
        raise click.UsageError("--json and -: standard output is for the rows")
    settings = config.load(config_path, os.environ)

    from dcmirror.commands import replay as command
    from dcmirror.commands.replay_options import ReplayOptions, Report

    options = ReplayOptions(
        settings=settings,
        csv=csv,
        report=next((Report(path, name) for name, path in given.items()), None),
        choice=wanted,
        dry_run=dry_run,
        as_json=as_json,
        instance=instance,
        verbosity=verbose - quiet,
    )
    return command.replay(options)


def _choice(values: dict[str, Any]) -> Choice:
    choice = Choice(**values)
    first, end = choice.since, choice.until
    if first is not None and end is not None and first >= end:
        raise click.UsageError("--until must be later than --since")
    least, most = choice.min_attempts, choice.max_attempts
    if least is not None and most is not None and least > most:
        raise click.UsageError("--max-attempts must not be less than --min-attempts")
    return choice


def _check_sources(csv: Path | None, reports: dict[str, Path], choice: Choice) -> None:
    if len(reports) + (csv is not None) > 1:
        raise click.UsageError("CSV, --from-reconcile, --from-audit: one of them")
    of_rows = (choice.since, choice.until, choice.min_attempts, choice.max_attempts)
    if reports and (choice.classes or any(value is not None for value in of_rows)):
        raise click.UsageError(
            "--class, --since, --until and the attempts are of failed.csv's rows; "
            "a report is chosen from by --under, --path and --limit"
        )
