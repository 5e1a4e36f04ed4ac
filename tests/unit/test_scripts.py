"""What scripts/demo and scripts/test do to a machine before Python runs."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from servers import maven
from servers.ladder import Unavailable

ROOT = Path(__file__).parents[2]

# Debian's Python as it comes: its venv module cannot make what it is for.
BARE_PYTHON = f"""\
#!/bin/sh
case "$*" in
*ensurepip*) exit 1 ;;
"-m venv --without-pip "*) exec {sys.executable} "$@" ;;
"-m venv "*) {sys.executable} -m venv --without-pip "$3"; exit 1 ;;
"-m pip "*) exit 1 ;;
esac
exec {sys.executable} "$@"
"""


def sh(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The script with scripts/set-up.sh read in; nothing but what every Unix has."""
    return subprocess.run(
        [
            "sh",
            "-euc",
            f". scripts/set-up.sh; {script}",
            "scripts/x",
            *map(str, arguments),
        ],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    path = tmp_path / "bare-python"
    path.write_text(BARE_PYTHON)
    path.chmod(0o755)
    return path


def test_a_venv_that_was_begun_without_pip_is_finished(tmp_path: Path) -> None:
    venv.create(tmp_path / "v", with_pip=False)
    ran = sh('begin_venv "$1" "$2"', tmp_path / "v", sys.executable)
    assert ran.returncode == 0, ran.stderr
    subprocess.run([tmp_path / "v/bin/python", "-m", "pip", "--version"], check=True)


def test_a_python_without_venv_is_told_with_the_package_that_brings_it(
    tmp_path: Path, bare_python: Path
) -> None:
    script = 'is_root_on_debian() { false; }; make_venv "$1" demo "$2"'
    ran = sh(script, tmp_path / "v", bare_python)
    assert ran.returncode == 1
    assert "apt-get install python3-venv" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_root_on_debian_gets_the_package_that_brings_venv(
    tmp_path: Path, bare_python: Path
) -> None:
    fakes = """
        is_root_on_debian() { true; }
        install_packages() { echo "$*"; ln -sf "$new" "$bare"; }
    """
    script = f'new=$3 bare=$2; {fakes} begin_venv "$1" "$2"'
    ran = sh(script, tmp_path / "v", bare_python, sys.executable)
    assert ran.stdout == "python3-venv\n"
    assert ran.returncode == 0, ran.stderr
    subprocess.run([tmp_path / "v/bin/python", "-m", "pip", "--version"], check=True)


def test_a_python_that_is_too_old_is_not_taken(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    ran = sh(f"PATH={tmp_path}; find_python")
    assert ran.returncode == 1
    assert (
        ran.stderr
        == "scripts/x: Python 3.11 or later is needed; PYTHON=... names one\n"
    )


def test_maven_is_quoted_with_its_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "mvn"
    fake.write_text(
        "#!/bin/sh\n"
        "echo '[ERROR] certificate of the repository is not trusted'\n"
        "echo '[ERROR] '; echo '[ERROR] Re-run Maven with -X'\n"
        "exit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Unavailable, match="certificate of the repository") as caught:
        maven.fetch("dependency:copy")
    assert "Re-run" not in str(caught.value)
