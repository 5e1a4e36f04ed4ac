"""The command ``dcmirror report``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from dcmirror import config
from dcmirror.cli_help import CLASSES, epilog
from dcmirror.cli_options import common, namespace_path, since
from dcmirror.core.report_tables import By
from dcmirror.errors import ExitStatus


@click.command(epilog=epilog("report"))
@click.option(
    "--since",
    callback=since,
    metavar="AGE|TIME",
    help="Begin at an age (36h, 7d) or a time (2026-11-01, 2026-11-01T06:00). "
    "Default: where the books begin.",
)
@click.option(
    "--until",
    callback=since,
    metavar="AGE|TIME",
    help="End before an age or a time. Default: now.",
)
@click.option(
    "--under",
    callback=namespace_path,
    metavar="PATH",
    help="Only files below this namespace path.",
)
@click.option(
    "--by",
    type=click.Choice([each.value for each in By]),
    default=By.DAY.value,
    metavar="GROUP",
    help="A row for each hour, day, directory, door or failure class; default day.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1, max=64),
    default=1,
    metavar="N",
    help="How many directories below the folder make a group; default 1.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1, max=500),
    default=20,
    metavar="N",
    help="Show this many directories or doors, the rest as one; default 20.",
)
@click.option(
    "--utc",
    is_flag=True,
    is_eager=True,
    help="Times in UTC, those of --since and --until too; else local ones.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="The groups as CSV, with a header.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with charts that needs no network; replaces FILE.",
)
@common
def report(
    since: float | None,
    until: float | None,
    under: str | None,
    by: str,
    depth: int,
    top: int,
    utc: bool,
    as_json: bool,
    as_csv: bool,
    html: Path | None,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
) -> ExitStatus:
    """Say what happened: files, bytes, failures, speed.

    Files, bytes and delay come from the catalogue: the copies that are in the mirror
    now and were made in the period. A file that was copied twice counts once there,
    when it was copied last. Copies done, retries, failures, skips and throughput come
    from the journal, which keeps as much as [journal] max_bytes lets it; the report
    says from when on it is whole. A file that failed again in a replay has failed
    twice; "still in failed.csv" is what no replay has cured.

    Reads only, beside a running `dcmirror watch` too, and needs no Elasticsearch.
    Percentiles are within 1 % of the true ones. Units are decimal: 1 TB is 10^12 bytes.
    """
    if as_json + as_csv > 1:
        raise click.UsageError("--json and --csv: one of them")
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--until must be later than --since")
    settings = config.load(config_path, os.environ)

    from dcmirror.commands import report as command

    options = command.ReportOptions(
        settings=settings,
        since=since,
        until=until,
        under=under,
        by=By(by),
        depth=depth,
        top=top,
        utc=utc,
        form=command.form_of(as_json=as_json, as_csv=as_csv),
        html=html,
        meanings={str(name): text for name, text in CLASSES.items()},
        now=time.time(),
        instance=instance,
        verbosity=verbose - quiet,
    )
    return command.report(options)
