"""Words that ``--help`` and the manual share: statuses, classes, examples."""

from __future__ import annotations

from dcmirror.core.audit_findings import AuditKind
from dcmirror.core.failures import FailureClass, Treatment
from dcmirror.core.verdict import StatusVerdict
from dcmirror.errors import ExitStatus

MEANINGS = {
    ExitStatus.DONE: "done, or stopped by TERM or INT in time",
    ExitStatus.UNEXPECTED: "something unexpected; the message says what",
    ExitStatus.USAGE: "wrong usage",
    ExitStatus.CHILD_BOOT: "a child process could not start",
    ExitStatus.BAD_CONFIGURATION: "bad configuration, or a file that is not ours",
    ExitStatus.CHILDREN_DYING: "a child died five times without having done anything",
    ExitStatus.LOCKED: "another instance holds the lock",
    ExitStatus.INTAKE: "Kafka is out of reach, or its reader is stuck",
    ExitStatus.CREDENTIAL: "proxy or CA directory, or the door refuses our identity",
    ExitStatus.DIRECTORY: "the mirror or the state directory cannot be used",
    ExitStatus.DOOR: "the door is out of reach or does not show the folder",
    ExitStatus.ELASTIC: "Elasticsearch or Kibana is out of reach or refuses us",
    ExitStatus.ROWS_REMAIN: "rows remain in failed.csv",
    ExitStatus.SOURCES_REMAIN: "some sources could not be deleted, or may not be",
    ExitStatus.BOOKS_DIFFER: "the books contradict each other, or have gaps",
    ExitStatus.COPIES_DIFFER: "copies are missing, damaged or changed",
    ExitStatus.SOURCE_DIFFERS: "source and mirror differ",
    ExitStatus.SECOND_TERM: "a second TERM: stopped at once",
}

CLASSES = {
    FailureClass.NOT_THERE: "the door does not have the file yet (404, 500)",
    FailureClass.GONE: "the door did not have the file for the whole grace period",
    FailureClass.REMOVED: "the door says that the file was removed (410)",
    FailureClass.FORBIDDEN: "the door does not let us read the file (403)",
    FailureClass.TRANSIENT: "reset, timeout, stall, short body, busy server",
    FailureClass.CHECKSUM: "the bytes have another Adler-32 than the source says",
    FailureClass.SIZE: "more or fewer bytes than the source says",
    FailureClass.NO_DIGEST: "the source has no Adler-32 for the file",
    FailureClass.REDIRECT: "the door sends us where we are not allowed to go",
    FailureClass.DESTINATION: "the mirror is full, read-only, broken or forbidden",
    FailureClass.CREDENTIAL: "proxy missing, expired or refused",
    FailureClass.HOST: "a door or pool is out of reach",
    FailureClass.UNSAFE_PATH: "the path would leave the mirror or cannot exist there",
    FailureClass.POISON: "two workers died with this file alone in their hands",
    FailureClass.OVERFLOW: "too many jobs were waiting; this one waited longest",
}

TREATMENTS = {
    Treatment.LADDER: "asked for again, uncharged, within the grace period",
    Treatment.RETRY: "tried again, up to retrytimes",
    Treatment.HOLD: "held until the cause is cured; nothing is charged",
    Treatment.PERMANENT: "a row in failed.csv",
}

AUDIT_KINDS = {
    AuditKind.GAP: "offsets with records and without an outcome",
    AuditKind.LOST: "offsets that Kafka had dropped before they were read",
    AuditKind.OVERLAP: "spans of one epoch that cover an offset twice",
    AuditKind.COUNTS: "a span with more or fewer outcomes than offsets or files",
    AuditKind.NO_ROW: "a copy that the journal has and the catalogue lacks",
    AuditKind.NO_EVENT: "a copy of which the journal should tell, and does not",
    AuditKind.NO_FAILED_ROW: "a failure that failed.csv lacks",
    AuditKind.UNKNOWN_ROW: "a row of failed.csv that the journal does not know",
    AuditKind.TORN_ROW: "lines of failed.csv that are no whole rows",
    AuditKind.OUTBOX: "outcomes that the journal has not taken for a minute",
    AuditKind.MISSING: "a copy that is gone",
    AuditKind.SIZE: "a copy of another size",
    AuditKind.CHANGED: "a copy of another modification time",
    AuditKind.CHECKSUM: "a copy of another Adler-32",
    AuditKind.MARK: "a copy whose mark has another Adler-32 than its bytes",
    AuditKind.UNSAFE: "a symbolic link or a directory in the place of a copy",
    AuditKind.UNREADABLE: "a copy that cannot be read",
    AuditKind.LOST_COPY: "a copy gone or damaged whose source was deleted",
    AuditKind.GONE: "a source that is gone, and not by cleanup",
    AuditKind.REPLACED: "a source that is another file now",
    AuditKind.SOURCE_SIZE: "a source of another size",
    AuditKind.SOURCE_CHECKSUM: "a source of another Adler-32",
}

SIGNALLED = "128+N: stopped by signal N; nothing is lost"

_S = ExitStatus
_ALWAYS = (_S.DONE, _S.UNEXPECTED, _S.USAGE)
_ENGINE = (_S.CHILD_BOOT, _S.BAD_CONFIGURATION, _S.CHILDREN_DYING, _S.LOCKED)

STATUSES: dict[str, tuple[ExitStatus, ...]] = {
    "watch": (*_ALWAYS, *_ENGINE, _S.INTAKE, _S.DIRECTORY, _S.SECOND_TERM),
    "replay": (*_ALWAYS, *_ENGINE, _S.DIRECTORY, _S.ROWS_REMAIN, _S.SECOND_TERM),
    "check": (
        *_ALWAYS,
        _S.BAD_CONFIGURATION,
        _S.INTAKE,
        _S.CREDENTIAL,
        _S.DIRECTORY,
        _S.DOOR,
    ),
    "elastic setup": (*_ALWAYS, _S.BAD_CONFIGURATION, _S.ELASTIC),
    "elastic resend": (
        *_ALWAYS,
        _S.BAD_CONFIGURATION,
        _S.LOCKED,
        _S.DIRECTORY,
        _S.ELASTIC,
    ),
    "report": (*_ALWAYS, _S.BAD_CONFIGURATION, _S.DIRECTORY),
    "cleanup": (
        *_ALWAYS,
        _S.BAD_CONFIGURATION,
        _S.LOCKED,
        _S.CREDENTIAL,
        _S.DIRECTORY,
        _S.DOOR,
        _S.SOURCES_REMAIN,
    ),
    "reconcile": (
        *_ALWAYS,
        *_ENGINE,
        _S.CREDENTIAL,
        _S.DIRECTORY,
        _S.DOOR,
        _S.SOURCE_DIFFERS,
        _S.SECOND_TERM,
    ),
    "audit": (
        *_ALWAYS,
        *_ENGINE,
        _S.CREDENTIAL,
        _S.DIRECTORY,
        _S.DOOR,
        _S.BOOKS_DIFFER,
        _S.COPIES_DIFFER,
        _S.SOURCE_DIFFERS,
        _S.SECOND_TERM,
    ),
}

#: A verdict is not an exit status like the others: monitoring systems know 0 to 3.
VERDICTS = {
    StatusVerdict.WELL: "all is well",
    StatusVerdict.WARNING: "warning (or something unexpected; standard error says so)",
    StatusVerdict.TROUBLE: "trouble: somebody must act (or wrong usage)",
    StatusVerdict.NOT_RUNNING: "the daemon is not running, or cannot be seen",
}
STATUSES["status"] = (_S.BAD_CONFIGURATION, _S.DIRECTORY)

EXAMPLES: dict[str, tuple[str, ...]] = {
    "watch": (
        "dcmirror watch",
        "dcmirror watch --config /etc/dcmirror/second.toml --instance second",
    ),
    "replay": (
        "dcmirror replay --dry-run",
        "dcmirror replay --class checksum-mismatch --since 2d",
        "dcmirror replay --path 'run7/**' --max-attempts 20",
        "dcmirror replay - <rows.csv >still-failing.csv",
        "dcmirror replay --from-reconcile differences.csv --under /pnfs/data/raw",
        "dcmirror replay /var/lib/dcmirror/main/failed.csv --under /pnfs/data/raw",
    ),
    "check": (
        "dcmirror check",
        "dcmirror check --file /pnfs/example.org/data/experiment/raw/one.dat",
        "dcmirror check --json | jq '.checks[] | select(.result != \"OK\")'",
    ),
    "elastic setup": (
        "dcmirror elastic setup --dry-run",
        "dcmirror elastic setup --user elastic --kibana https://kibana.example.org",
        "dcmirror elastic setup --user elastic --no-kibana "
        "--make-api-key /etc/dcmirror/elastic_api_key",
        "dcmirror elastic setup --api-key-file admin.key --keep-days 730",
    ),
    "elastic resend": (
        "dcmirror elastic resend --dry-run",
        "dcmirror elastic resend",
    ),
    "reconcile": (
        "dcmirror reconcile --dry-run",
        "dcmirror reconcile --under /pnfs/example.org/data/exp/raw/2026",
        "dcmirror reconcile --dry-run --ignore only-here --csv > differences.csv",
        "dcmirror reconcile --from namespace-dump.txt --trust-size",
    ),
    "cleanup": (
        "dcmirror cleanup --dry-run",
        "dcmirror cleanup --dry-run --csv --under /pnfs/data/raw >plan.csv",
        "dcmirror cleanup --limit 100",
        "dcmirror cleanup -q  # from cron",
        "dcmirror cleanup --undo-list --json | jq '.deleted[].copy'",
    ),
    "report": (
        "dcmirror report --since 7d",
        "dcmirror report --since 2026-10-01 --until 2026-11-01 --html october.html",
        "dcmirror report --under /pnfs/data/raw --by directory --depth 2",
        "dcmirror report --since 1d --json | jq .catalogue.bytes",
    ),
    "audit": (
        "dcmirror audit",
        "dcmirror audit --quiet --deep --oldest 5000 --rate 100M",
        "dcmirror audit --deep --sample 5% --repair",
        "dcmirror audit --state /var/lib/dcmirror/first --state /srv/second",
        "dcmirror audit --source --csv >audit.csv",
    ),
    "status": (
        "dcmirror status --follow",
        "dcmirror status --json | jq -r '.reasons[].text'",
        "dcmirror status --check --state /var/lib/dcmirror/main --warn-lag 100000",
    ),
}


def meanings(command: str) -> dict[int, str]:
    """What each exit status of ``command`` means."""
    own: dict[int, str] = {}
    if command == "status":
        own = {int(verdict): meaning for verdict, meaning in VERDICTS.items()}
    return own | {int(status): MEANINGS[status] for status in STATUSES[command]}


def status_lines(command: str) -> list[str]:
    """The exit statuses of ``command``, one line each."""
    lines = [f"{status:>3}  {text}" for status, text in meanings(command).items()]
    return [*lines, SIGNALLED]


def epilog(command: str) -> str:
    """Examples and exit statuses, in click's notation for text kept as it is."""
    examples = "\n".join(f"  {line}" for line in EXAMPLES[command])
    statuses = "\n".join(f"  {line}" for line in status_lines(command))
    return f"\b\nExamples:\n{examples}\n\n\b\nExit statuses:\n{statuses}"
