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
    "elastic_transport": ["adapters.elastic*"],
    "rich": ["cli_*", "commands.*", "testing.*"],
    "orjson": ["core.journal_document", "adapters.journal_scan"],
    "msgspec": ["core.wire"],
    "zlib_ng": ["core.checksums"],
}

#: What core may use: values in, values out.  The rest of the world is an argument.
PURE = {
    *("__future__", "array", "base64", "binascii", "bisect", "calendar", "codecs"),
    *("collections", "csv", "dataclasses", "datetime", "enum", "errno", "fnmatch"),
    *("functools", "hashlib", "heapq", "html", "ipaddress", "itertools", "json"),
    *("math", "msgspec", "orjson", "pickle", "re", "struct", "typing", "urllib.parse"),
    *("xml.parsers", "zlib", "zlib_ng"),
}

IMPURE_BUILTINS = {"open", "print", "input", "__import__", "exec", "eval", "breakpoint"}

#: Methods that ask the clock, whatever their class is called where it is used.
CLOCKS = {"now", "utcnow", "today"}

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


def is_pure(name: str) -> bool:
    parts = name.split(".")
    heads = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return parts[0] == "dcmirror" or bool(heads & PURE)


def used_names(module: str) -> set[str]:
    return {node.id for node in ast.walk(tree(module)) if isinstance(node, ast.Name)}


def clocks(module: str) -> set[str]:
    """Where it asks the clock: by a call, or with a class that it imports."""
    imported, asked = set[str](), set[str]()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported |= {a.asname or a.name.split(".")[0] for a in node.names}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            asked.add(f"{ast.unparse(node.func)}()")
        elif isinstance(node, ast.Attribute):
            asked.add(ast.unparse(node))
    return {
        each
        for each in asked
        if each.removesuffix("()").rpartition(".")[2] in CLOCKS
        and (each.endswith("()") or each.split(".")[0] in imported)
    }


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


def test_every_foreign_library_has_a_row() -> None:
    used = set().union(*(roots(name) for name in MODULES))

    assert used - sys.stdlib_module_names - {"dcmirror"} <= IMPORTERS.keys()


@pytest.mark.parametrize("module", CORE)
def test_core_neither_reads_the_world_nor_changes_it(module: str) -> None:
    foreign = [name for name in imports(module) if not is_pure(name)]

    assert [] == foreign
    assert set() == used_names(module) & IMPURE_BUILTINS
    assert set() == clocks(module)


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
