"""The command ``dcmirror reconcile``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from dcmirror import config
from dcmirror.cli_help import epilog
from dcmirror.cli_options import age, common
from dcmirror.core.differences import DifferenceKind
from dcmirror.errors import ExitStatus


@click.command(epilog=epilog("reconcile"))
@click.option("--dry-run", is_flag=True, help="Only say what differs; copy nothing.")
@click.option("--under", metavar="PATH", help="Only what is below this namespace path.")
@click.option(
    "--from",
    "names",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="List nothing; look only at the files named here, a namespace path a line, or "
    'a dump with "path size [adler32]" lines. It is a dump if the first 100 lines look '
    "so, and one of them has a tab before the size, or an Adler-32 (not of digits "
    "alone) or - behind it; else each line is a path. - reads standard input.",
)
@click.option(
    "--trust-size",
    is_flag=True,
    help="Adopt a file of the mirror that has the right size, its checksum unread; it "
    "counts as unverified, and its source is never deleted.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Copy (or with --dry-run: find) at most about so many files; the next run "
    "goes on from there.",
)
@click.option(
    "--grace",
    callback=age,
    metavar="AGE",
    help="Leave what was written within this age (10m, 2h) to its events; default "
    "[reconcile] grace_minutes.",
)
@click.option(
    "--ignore",
    multiple=True,
    type=click.Choice([each.value for each in DifferenceKind]),
    metavar="KIND",
    help="Neither report nor count differences of this kind; may be given again.",
)
@click.option(
    "--restart", is_flag=True, help="Do not go on where a killed run was; begin anew."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="All differences as CSV.")
@common
def reconcile(
    dry_run: bool,
    under: str | None,
    names: Path | None,
    trust_size: bool,
    limit: int | None,
    grace: float | None,
    ignore: tuple[str, ...],
    restart: bool,
    as_json: bool,
    as_csv: bool,
    config_path: Path | None,
    instance: str | None,
    verbose: int,
    quiet: int,
) -> ExitStatus | int:
    """Compare the source with the mirror, and copy what no event announced.

    Lists the source below [dcache] folder, compares each file with the catalogue and
    the mirror, and copies what is missing, has changed or was replaced, in the same
    engine as `dcmirror watch` and after it: while a watch of the same instance has its
    hands full, nothing is begun here. Files of an existing mirror that are right (size
    and Adler-32) are adopted. What is only here is told, never deleted; rows of
    failed.csv are left to `dcmirror replay`.

    dCache may cut a listing short and tell nobody. So some of the names that a listing
    lacks are asked for; a directory that has one of them counts as not listed. New
    files in it are for the next run: where all must be found, let a second one agree.

    A killed run goes on where it was. Kinds of differences: missing, size, checksum,
    replaced (another pnfsid), renamed, only-here, incomplete (its upload is not
    finished), known-failure, unreadable (a name that cannot be used), unadopted (seems
    right, but is not proved or not in the catalogue).
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: one of them")
    if names is not None and restart:
        raise click.UsageError("--from and --restart: a list is never gone on with")
    settings = config.load(config_path, os.environ)

    from dcmirror.commands import reconcile as command

    options = command.ReconcileOptions(
        settings=settings,
        under=under,
        names=names,
        trust_size=trust_size,
        limit=limit,
        grace=grace,
        dry_run=dry_run,
        restart=restart,
        ignore=frozenset(map(DifferenceKind, ignore)),
        form=command.form_of(as_json=as_json, as_csv=as_csv),
        instance=instance,
        verbosity=verbose - quiet,
    )
    return command.reconcile(options)
