"""The command ``dcmirror audit``."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import click

from dcmirror import config
from dcmirror.cli_help import epilog
from dcmirror.cli_options import common
from dcmirror.errors import ExitStatus

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def rate(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Bytes per second: ``100M``."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,11})([kMG]?)", value)
    if found is None:
        raise click.BadParameter(f"{value!r}: expected bytes per second (500k, 100M)")
    return int(found[1]) * _UNITS[found[2]]


def share(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """A percentage such as ``5%``, as a number up to 1."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%?", value)
    part = float(found[1]) / 100 if found else 0.0
    if not 0 < part <= 1:
        raise click.BadParameter(f"{value!r}: expected a percentage (5%, 0.5%)")
    return part


@click.command(epilog=epilog("audit"))
@click.option(
    "--deep",
    is_flag=True,
    help="Read copies and compare their Adler-32 with catalogue and mark.",
)
@click.option(
    "--source",
    is_flag=True,
    help="Ask the door for each copy's source: pnfsid, size, Adler-32.",
)
@click.option(
    "--sample",
    callback=share,
    metavar="PERCENT",
    help="--deep and --source take only this share; the next day the next one, so that "
    "5% takes each copy once in 20 days.",
)
@click.option(
    "--oldest",
    type=click.IntRange(min=1),
    metavar="N",
    help="--deep reads only the N copies that were proved longest ago; --source asks "
    "for the next N by path, and the next audit goes on there.",
)
@click.option(
    "--rate",
    callback=rate,
    metavar="BYTES",
    help="--deep reads at most this much per second (500k, 100M); "
    "default [audit] bytes_per_second.",
)
@click.option(
    "--no-kafka",
    is_flag=True,
    help="Do not ask the broker; offsets are judged up to the last acknowledged one.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="State directory of another instance of the consumer group, for the offsets "
    "that it settled; repeatable.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Fetch again what is missing or damaged; the old file stays until then.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="Files that are concerned as CSV, for replay --from-audit.",
)
@common
def audit(
    deep: bool,
    source: bool,
    sample: float | None,
    oldest: int | None,
    rate: int | None,
    no_kafka: bool,
    states: tuple[Path, ...],
    repair: bool,
    as_json: bool,
    as_csv: bool,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
) -> ExitStatus | int:
    """Prove the books: every offset has one outcome, every copy is there.

    Compares the settled offsets with Kafka's committed one, catalogue, failed.csv and
    journal with each other, and each row of the catalogue with its file: there, with
    its size and modification time. Each contradiction is one line: what, where, and
    what to do about it. With --quiet nothing is said where all is well, for cron.

    Reads only, beside a running `dcmirror watch` too; files that change meanwhile are
    looked at again before they are called wrong. For --oldest the catalogue remembers
    which copies --deep has read, and where --source ended. --repair fetches files by
    the same engine as `watch`, one audit at a time.
    """
    if as_json + as_csv > 1:
        raise click.UsageError("--json and --csv: one of them")
    if (sample is not None or oldest is not None) and not (deep or source):
        raise click.UsageError("--sample and --oldest need --deep or --source")
    if rate is not None and not deep:
        raise click.UsageError("--rate needs --deep")
    settings = config.load(config_path, os.environ)

    from dcmirror.commands import audit as command

    options = command.AuditOptions(
        settings=settings,
        now=time.time(),
        states=states,
        deep=deep,
        share=sample,
        oldest=oldest,
        rate=rate,
        asks_kafka=not no_kafka,
        source=source,
        repair=repair,
        form=command.form_of(as_json=as_json, as_csv=as_csv),
        instance=instance,
        verbosity=verbose - quiet,
    )
    return command.audit(options)
