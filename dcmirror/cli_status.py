"""The command ``dcmirror status``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from dcmirror import config
from dcmirror.cli_help import epilog
from dcmirror.cli_options import age, common
from dcmirror.core.verdict import Limits, StatusVerdict


@click.command(epilog=epilog("status"))
@click.option(
    "--follow", "-f", is_flag=True, help="Look each second; q or Ctrl-C quits."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a look.")
@click.option(
    "--check",
    "as_check",
    is_flag=True,
    help="One line with performance data, as Nagios and Icinga want it.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, readable=False),  # we say better why not
    metavar="DIRECTORY",
    help="Look into this state directory; no configuration is read.",
)
@click.option(
    "--warn-lag",
    type=click.IntRange(min=1),
    metavar="N",
    help="A lag of N records is a warning. Default: when it grows for 15 minutes.",
)
@click.option(
    "--critical-lag",
    type=click.IntRange(min=1),
    metavar="N",
    help="A lag of N records is trouble. Default: never.",
)
@click.option(
    "--warn-credential",
    callback=age,
    metavar="AGE",
    help="A proxy with less time left is a warning. Default: 6h.",
)
@common
def status(
    follow: bool,
    as_json: bool,
    as_check: bool,
    state: Path | None,
    warn_lag: int | None,
    critical_lag: int | None,
    warn_credential: float | None,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
) -> StatusVerdict:
    """Show what the daemon does now, and whether all is well.

    The verdict and its reasons come first, then the transfers with their progress,
    rates, holds, files to be tried again, lag and processes. It reads what the daemon
    leaves in its state directory once a second, so it answers while the daemon is
    stuck, and after it died. A replay that runs beside it is shown as well.

    With --follow it is a screen that renews itself each second; without a terminal, a
    line each 5 seconds. -v shows every row and what each host was asked, -q only the
    verdict.

    A warning is: any hold; a proxy with less than 6 hours; Kafka out of reach; a lag
    that grows; three children dead within 5 minutes; transfers that wait for their
    first byte for more than 2 minutes; 5 % of the files given up in 15 minutes; a
    destination, journal or shipping in want of care; no life for 5 seconds. Trouble
    is: a hold for more than 1 minute (destination), 5 (books), 15 (door, source) or 60
    (a pool), and any of the credential; a proxy with less than an hour; Kafka out of
    reach for 5 minutes; ten dead children; more files given up than mirrored; no life
    for 20 seconds.
    """
    from dcmirror.adapters.state_directory import resolve
    from dcmirror.commands import status as command
    from dcmirror.commands.status_look import StatusOptions

    if state is None:
        state = resolve(config.load(config_path, os.environ), instance)
    usual = Limits()
    options = StatusOptions(
        state=state,
        out=sys.stdout,
        limits=Limits(
            warn_lag=warn_lag,
            critical_lag=critical_lag,
            warn_credential=warn_credential or usual.warn_credential,
        ),
        as_json=as_json,
        as_check=as_check,
        follow=follow,
        verbosity=verbose - quiet,
    )
    return command.status(options)
