"""Manual and sample: whole, true to the code, and what the build would write."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from dcmirror import __version__, cli, cli_help, config
from dcmirror.config_reader import required_keys, table_classes
from dcmirror.core.failures import FailureClass, Treatment
from dcmirror.errors import ExitStatus

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "man/dcmirror.1").read_text()
CONFIGURATION = (ROOT / "man/dcmirror.toml.5").read_text()
SAMPLE = (ROOT / "etc/dcmirror.toml.sample").read_text()
README = (ROOT / "README.md").read_text()

COMMANDS = cli.every_command()
KEYS = [(t, s.name) for t, cls in table_classes().items() for s in fields(cls)]


def test_generated_files_are_what_the_build_would_write() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts/build-docs", "--check"],
        capture_output=True,
        text=True,
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def plain(roff: str) -> str:
    return roff.replace("\\-", "-").replace("\\&", "").replace("\\(dq", '"')


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_manual_has_every_command_with_every_option(name: str) -> None:
    section = plain(MANUAL).split(f".SS dcmirror {name} ")[1].split("\n.S")[0]
    options = [o for each in COMMANDS[name].params for o in each.opts]
    missing = [o for o in options if o.startswith("-") and o not in section]

    assert missing == []


@pytest.mark.parametrize("status", ExitStatus)
def test_the_manual_has_every_exit_status(status: ExitStatus) -> None:
    assert f".B {int(status)}\n{cli_help.MEANINGS[status]}" in plain(MANUAL)


@pytest.mark.parametrize("failure", FailureClass)
def test_the_manual_has_every_failure_class(failure: FailureClass) -> None:
    assert f".B {failure}\n{cli_help.CLASSES[failure]};" in plain(MANUAL)


def test_every_treatment_has_words() -> None:
    assert set(cli_help.TREATMENTS) == set(Treatment)


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_manual_and_sample_have_every_setting(table: str, key: str) -> None:
    manual = plain(CONFIGURATION).split(f".SS [{table}]")[1].split("\n.S")[0]
    sample = SAMPLE.split(f"\n[{table}]\n")[1].split("\n[")[0]

    assert f".BR {key} " in manual
    assert re.search(rf"^(# )?({key} = |\[{table}\.{key}\])", sample, re.MULTILINE)


def test_the_sample_is_a_configuration() -> None:
    settings = config.parse(SAMPLE, "sample", {})

    assert settings.kafka.topic == "billing"


def test_only_required_keys_of_the_sample_are_in_force() -> None:
    written = re.findall(r"^(\w+) = ", SAMPLE, re.MULTILINE)

    assert written == [k for c in table_classes().values() for k in required_keys(c)]


def test_everything_the_sample_shows_would_be_accepted(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x")
    text = re.sub(r"^# (?=\w+ = |\[)", "", SAMPLE, flags=re.MULTILINE)
    text = text.replace("/etc/dcmirror/kafka_password", str(secret))
    settings = config.parse(text, "sample", {})

    assert settings.kafka.client["sasl_plain_password"] == "x"
    assert settings.filter.rules


def test_the_samples_defaults_are_the_defaults() -> None:
    """A line that is commented out shows what holds without it, or an example."""
    text = re.sub(r"^# (?=\w+ = )", "", SAMPLE, flags=re.MULTILINE)
    text = re.sub(r"^sasl_.*\n|^security_protocol.*\n", "", text, flags=re.MULTILINE)
    reloadable, restart = config.changed_keys(
        config.parse(SAMPLE, "sample", {}), config.parse(text, "all", {})
    )
    examples = {
        f"[{table}] {each.name}"
        for table, cls in table_classes().items()
        for each in fields(cls)
        if each.default in (None, ())
    }

    assert {*reloadable, *restart} == examples


def test_required_keys_are_called_required() -> None:
    for cls in table_classes().values():
        for key in required_keys(cls):
            assert re.search(rf"^\.BR {key} .*required", CONFIGURATION, re.MULTILINE)


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
@pytest.mark.parametrize(
    "page",
    ["dcmirror.1", "dcmirror.toml.5", "dcmirror-events.7", "dcmirror-metrics.7"],
)
def test_groff_has_nothing_to_complain_about(page: str) -> None:
    ran = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", ROOT / "man" / page],
        capture_output=True,
        text=True,
    )

    assert ran.stderr == ""


def test_the_readmes_configuration_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)

    settings = config.parse(text, "README", {})

    assert settings.dcache.folder == "/experiment/raw"
    assert "Eight keys are enough; with the ninth" in README
    assert len(re.findall(r"^\w+ = ", text, re.MULTILINE)) == 9


def test_daemon_and_shell_find_the_same_books_where_the_readme_is_followed() -> None:
    """The unit makes the directory that the README's configuration names."""
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    unit = (ROOT / "etc/dcmirror.service").read_text()
    (made,) = re.findall(r"^StateDirectory=(.*)$", unit, re.MULTILINE)

    directory = config.parse(text, "README", {}).state.directory
    assert directory is not None
    assert directory.parent == Path("/var/lib", made)
    assert f"--home-dir {directory.parent} --create-home" in README


def test_the_readme_puts_the_command_where_shells_look() -> None:
    unit = (ROOT / "etc/dcmirror.service").read_text()
    (program,) = re.findall(r"^ExecStart=(\S+) watch$", unit, re.MULTILINE)

    assert f"ln -s {program} /usr/local/bin/dcmirror" in README


def test_the_unit_prevents_restarts_by_statuses_that_exist() -> None:
    unit = (ROOT / "etc/dcmirror.service").read_text()
    statuses = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)

    assert [int(s) for s in statuses[0].split()] == [
        ExitStatus.BAD_CONFIGURATION,
        ExitStatus.LOCKED,
    ]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_readme_names_every_command(name: str) -> None:
    assert f"dcmirror {name}" in README


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]

    assert links
    assert missing == []


def test_commands_that_the_readme_shows_exist() -> None:
    shown = set(re.findall(r"^\s*(scripts/[\w-]+)", README, re.MULTILINE))
    missing = [name for name in shown if not (ROOT / name).exists()]

    assert {"scripts/demo", "scripts/test"} <= shown
    assert missing == []


def test_every_version_has_an_entry_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()

    assert f"## {__version__}" in changelog
