"""The command line: what reaches a command, and what a user sees of its end."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import dcmirror.commands
from config_text import SHORTEST
from dcmirror import __version__, cli
from dcmirror.cli_help import MEANINGS, STATUSES, status_lines
from dcmirror.core.choosing import Choice
from dcmirror.errors import CredentialError, ExitStatus, LockedError


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "dcmirror.toml"
    path.write_text(SHORTEST)
    return path


class Command:
    """Stands for ``dcmirror.commands.<name>``; keeps its options, ends as told."""

    def __init__(self) -> None:
        self.options: Any = None
        self.ending: Any = ExitStatus.DONE

    def __call__(self, options: Any) -> Any:
        self.options = options
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    stub = Command()
    for name in ("watch", "replay", "check"):
        module = SimpleNamespace(
            **{name: stub, f"{name.title()}Options": SimpleNamespace}
        )
        monkeypatch.setattr(dcmirror.commands, name, module, raising=False)
    return stub


def test_watch_gets_settings_path_instance_and_verbosity(
    command: Command, config_path: Path
) -> None:
    arguments = ["-c", str(config_path), "--instance", "two", "-vv", "-q"]

    assert cli.run(["watch", *arguments]) == 0
    assert command.options.settings.kafka.topic == "billing"
    assert command.options.config_path == config_path
    assert (command.options.instance, command.options.verbosity) == ("two", 1)


def test_the_environment_names_the_configuration(
    command: Command, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCMIRROR_CONFIG", str(config_path))

    assert cli.run(["watch"]) == 0
    assert command.options.config_path == config_path


def test_replay_gets_its_choice_of_rows(command: Command, config_path: Path) -> None:
    arguments = "replay f.csv --class gone --class transient --under /raw --limit 5"

    assert cli.run([*arguments.split(), "--dry-run", "-c", str(config_path)]) == 0
    options = command.options
    assert (options.csv, options.dry_run) == (Path("f.csv"), True)
    assert options.choice == Choice(
        classes=("gone", "transient"), under="/raw", limit=5
    )


def test_replay_gets_its_choice_of_paths_and_attempts(
    command: Command, config_path: Path
) -> None:
    arguments = "replay - --path *.raw --path run7/** --min-attempts 3 --max-attempts 9"

    assert cli.run([*arguments.split(), "-c", str(config_path)]) == 0
    assert command.options.csv == Path("-")
    assert command.options.choice == Choice(
        globs=("*.raw", "run7/**"), min_attempts=3, max_attempts=9
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T06:00:00Z", 1795413600.0),
        ("2026-11-23T07:00:00+01:00", 1795413600.0),
        ("2026-11-23 06:00", 1795413600.0),
        ("2026-11-23", 1795392000.0),
    ],
)
def test_since_takes_a_time_in_utc(
    command: Command, config_path: Path, text: str, expected: float
) -> None:
    cli.run(["replay", "--since", text, "-c", str(config_path)])

    assert command.options.choice.since == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("999999w", 0.0),
        ("0001-01-01", 0.0),
        ("1960-01-01", 0.0),
        ("9999-12-31T23:59", 253402128000.0),
    ],
)
def test_since_stays_within_the_times_that_have_a_name(
    command: Command, config_path: Path, text: str, expected: float
) -> None:
    cli.run(["replay", "--since", text, "-c", str(config_path)])

    assert command.options.choice.since == expected


def test_since_takes_an_age(command: Command, config_path: Path) -> None:
    before = time.time()
    cli.run(["replay", "--since", "2h", "-c", str(config_path)])

    assert before - 7200 <= command.options.choice.since <= time.time() - 7200


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "--since", "yesterday"],
        ["replay", "--class", "nonsense"],
        ["replay", "--limit", "0"],
        ["replay", "--path", "["],
        ["replay", "--since", "2d", "--until", "3d"],
        ["replay", "--min-attempts", "3", "--max-attempts", "2"],
        ["replay", "-", "--json"],
        ["replay", "--under", "raw"],
        ["report", "--under", "raw"],
        ["replay", "x.csv", "--from-audit", "y.csv"],
        ["replay", "--from-audit", "x", "--from-reconcile", "y"],
        ["replay", "--from-reconcile", "x", "--class", "gone"],
        ["watch", "--instance", "../x"],
        ["watch", "--no-such-option"],
        ["no-such-command"],
        [],
    ],
)
def test_wrong_usage_ends_with_2_and_a_word(
    command: Command, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == ExitStatus.USAGE
    assert capsys.readouterr().err


def test_the_status_of_a_command_is_that_of_the_process(
    command: Command, config_path: Path
) -> None:
    command.ending = ExitStatus.ROWS_REMAIN

    assert cli.run(["replay", "-c", str(config_path)]) == 20


@pytest.mark.parametrize(
    ("error", "status"),
    [(LockedError("held by a"), 10), (CredentialError("proxy x: expired"), 12)],
)
def test_an_error_on_purpose_is_one_line_and_its_status(
    command: Command,
    config_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
) -> None:
    command.ending = error

    assert cli.run(["watch", "-c", str(config_path)]) == status
    assert capsys.readouterr() == ("", f"dcmirror: {error}\n")


def test_an_error_cannot_play_with_the_terminal(
    command: Command, config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.ending = CredentialError("bad\x1b[2J name\r")
    cli.run(["watch", "-c", str(config_path)])

    assert capsys.readouterr().err == "dcmirror: bad?[2J name?\n"


def test_bad_configuration_ends_with_4_and_a_line_for_each_mistake(
    command: Command, config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_path.write_text(f"{SHORTEST}permissions = 7\n[state]\ninstance = 3\n")

    assert cli.run(["watch", "-c", str(config_path)]) == ExitStatus.BAD_CONFIGURATION
    assert capsys.readouterr().err.splitlines() == [
        f"dcmirror: {config_path}:11: [local] permissions = 7: "
        "expected a string in quotes",
        f"dcmirror: {config_path}:13: [state] instance = 3: "
        "expected a string in quotes",
    ]


def test_a_missing_configuration_ends_with_4_in_one_line(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = cli.run(["watch", "-c", str(tmp_path / "none")])

    assert status == ExitStatus.BAD_CONFIGURATION
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_unexpected_is_one_line_that_names_the_traceback(
    command: Command, config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.ending = RuntimeError("two\nlines")

    assert cli.run(["watch", "-c", str(config_path)]) == ExitStatus.UNEXPECTED
    (line,) = capsys.readouterr().err.splitlines()
    found = re.fullmatch(
        r"dcmirror: unexpected: RuntimeError: two lines "
        r"\(traceback in (\S+); please report it\)",
        line,
    )
    assert found
    kept = Path(found[1])
    text, mode = kept.read_text(), kept.stat().st_mode & 0o777
    kept.unlink()
    assert "Traceback" in text
    assert mode == 0o600


def test_very_verbose_shows_the_traceback_too(
    command: Command,
    config_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command.ending = RuntimeError("\x1b[2Jx\ndcmirror: all is well")
    cli.run(["watch", "-c", str(config_path), "-v", "-v"])
    first, *more, last = capsys.readouterr().err.splitlines()

    assert first == "Traceback (most recent call last):"
    assert more[-2:] == [
        "  RuntimeError: \\x1b[2Jx",
        "  dcmirror: all is well",
    ]
    assert last.startswith("dcmirror: unexpected: ")
    assert "\x1b" not in last


def test_an_interrupt_is_quiet(
    command: Command, config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.ending = KeyboardInterrupt()

    assert cli.run(["replay", "-c", str(config_path)]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_version_is_ours() -> None:
    result = CliRunner().invoke(cli.cli, ["--version"])

    assert result.output == f"dcmirror {__version__}\n"


@pytest.mark.parametrize("name", sorted(STATUSES))
def test_help_tells_what_happens_examples_and_every_exit_status(name: str) -> None:
    result = CliRunner().invoke(cli.cli, [*name.split(), "--help"])

    assert result.exit_code == 0
    assert f"  dcmirror {name}" in result.output
    for line in status_lines(name):
        assert f"  {line}\n" in result.output


def test_every_exit_status_has_a_meaning_and_belongs_to_a_command() -> None:
    used = {status for statuses in STATUSES.values() for status in statuses}

    assert set(MEANINGS) == set(ExitStatus) == used
    assert set(STATUSES) == set(cli.every_command())


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from dcmirror.cli import run; run(['watch', '--help']);"
        "heavy = {'kafka', 'pycurl', 'cryptography', 'elasticsearch', 'rich'};"
        "sys.exit(len(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True)

    assert result.returncode == 0
