"""The shape of the package: imports only go down, and foreign things have one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

import dcmirror

PACKAGE = Path(dcmirror.__file__).parent

LAYERS = (
    "errors",
    "settings",
    "config",
    "core",
    "adapters",
    "tasks",
    "processes",
    "commands",
    "cli",
    "testing",
    "__main__",
)

IMPORTERS = {
    "kafka": ["adapters.kafka_*"],
    "pycurl": ["adapters.curl_*"],
    "elasticsearch": ["adapters.elastic*"],
    "click": ["cli", "cli_*"],
    "prometheus_client": ["adapters.metrics"],
    "sqlite3": [
        *("adapters.catalogue*", "adapters.findings_file", "adapters.frontier"),
        "adapters.sqlite_files",
    ],
    "cryptography": ["adapters.credentials", "testing.*"],
    "confluent_kafka": ["testing.*"],
    "pytest": [],
}

IMPURE = {
    *("asyncio", "fcntl", "io", "logging", "mmap", "multiprocessing", "os", "queue"),
    *("random", "secrets", "select", "selectors", "shutil", "signal", "socket"),
    *(
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
    ),
}

IMPURE_NAMES = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("uuid.uuid1", "uuid.uuid4", "pathlib.Path", "open", "print", "input"),
}

HEAVY = ("kafka", "click", "rich", "cryptography", "elasticsearch", "confluent_kafka")


def modules() -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names.append(".".join(part for part in parts if part != "__init__"))
    return names


def layer(module: str) -> int:
    """Which layer; ``config_reader`` beside ``config`` is of the same one."""
    top = module.split(".")[0]
    return LAYERS.index(top if top in LAYERS else top.split("_")[0])


@cache
def tree(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(), str(file))


def imports(module: str) -> Iterator[str]:
    """Every module that ``module`` imports, lazily or not; names with their module."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(module: str) -> Iterator[str]:
    prefix = "dcmirror."
    for name in imports(module):
        if name.startswith(prefix) and not name.startswith(f"{prefix}__version"):
            yield name[len(prefix) :]


def roots(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def called_names(module: str) -> set[str]:
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
    return found


MODULES = [name for name in modules() if name]
CORE = [name for name in MODULES if name.split(".")[0] == "core"]


def test_the_walk_sees_the_package() -> None:
    assert {"errors", "core.jobs", "settings"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_go_down(module: str) -> None:
    upward = [name for name in ours(module) if layer(name) > layer(module)]

    assert [] == upward


@pytest.mark.parametrize("foreign", IMPORTERS)
def test_a_foreign_library_is_imported_at_its_door_only(foreign: str) -> None:
    doors = IMPORTERS[foreign]
    importers = [name for name in MODULES if foreign in roots(name)]
    strangers = [
        name for name in importers if not any(fnmatch(name, door) for door in doors)
    ]

    assert [] == strangers


@pytest.mark.parametrize("module", CORE)
def test_core_neither_reads_the_world_nor_changes_it(module: str) -> None:
    imported = {
        name
        for found in imports(module)
        for name in (found, found.split(".")[0], found.rpartition(".")[0])
    }
    tails = {".".join(name.split(".")[-2:]) for name in called_names(module)}

    assert set() == imported & IMPURE
    assert set() == (imported | tails) & IMPURE_NAMES


@pytest.mark.parametrize("module", ["processes.worker", "processes.logger"])
def test_a_child_starts_without_what_it_never_uses(module: str) -> None:
    """Each worker is a process of its own: what it imports is paid several times."""
    if module not in MODULES:
        pytest.skip(f"there is no {module} yet")
    code = (
        f"import sys, dcmirror.__main__, dcmirror.{module}, multiprocessing.spawn\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "" == ran.stdout.strip()
