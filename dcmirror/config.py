"""Finds, reads and reloads the configuration.

The commands call ``load`` before anything else starts, and again on HUP.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any

from dcmirror.config_reader import Reader, table_classes
from dcmirror.errors import ConfigError
from dcmirror.settings import Settings

DEFAULT_PATH = Path("/etc/dcmirror/dcmirror.toml")
ENVIRONMENT = "DCMIRROR_CONFIG"


def locate(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: as given, else from the environment, else the default."""
    return path or Path(environ.get(ENVIRONMENT) or DEFAULT_PATH)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in the file, checked.

    Raises:
        ConfigError: with one line for each thing that is wrong.
    """
    chosen = locate(path, environ)
    return parse(_read(chosen), str(chosen), environ)


def parse(text: str, name: str, environ: Mapping[str, str]) -> Settings:
    """The settings in ``text``; messages call it ``name``."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_message(name, error)) from error
    except (ValueError, RecursionError) as error:
        place = f"{name}:{_line_of(text, type(error))}"
        raise ConfigError(f"{place}: not to be read: {_too_much(error)}") from error
    try:
        return Reader(name, text, environ).settings(tree)
    except RecursionError as error:
        raise ConfigError(f"{name}: not to be read: {_too_much(error)}") from error


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; name one with --config or ${ENVIRONMENT}"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}:{line}: not UTF-8, which TOML must be (byte {error.start})"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _syntax_message(name: str, error: tomllib.TOMLDecodeError) -> str:
    text = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)$", text)
    if place is None:
        return f"{name}: not TOML: {text}"
    return f"{name}:{place[1]}: not TOML: {text[: place.start()]} (column {place[2]})"


def _too_much(error: Exception) -> str:
    is_deep = isinstance(error, RecursionError)
    return "nested too deeply" if is_deep else "a number with too many digits"


def _line_of(text: str, kind: type[Exception]) -> int:
    """The first line that tomllib gives up at in this way; it does not say itself."""
    rows = text.split("\n")

    def gives_up(count: int) -> bool:
        try:
            tomllib.loads("\n".join(rows[:count]))
        except (ValueError, RecursionError) as error:
            return type(error) is kind
        return False

    return bisect_left(range(len(rows)), True, key=gives_up)


def changed_keys(
    old: Settings, new: Settings
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys that differ, ``[table] key``: those HUP takes, those that need a restart."""
    reloadable: list[str] = []
    restart: list[str] = []
    for table, setting in _all_settings():
        before, after = (getattr(getattr(s, table), setting.name) for s in (old, new))
        if before != after:
            group = reloadable if setting.metadata["reload"] else restart
            group.append(f"[{table}] {setting.name}")
    return tuple(reloadable), tuple(restart)


def reloaded(old: Settings, new: Settings) -> Settings:
    """``old`` with those values of ``new`` that HUP may take."""
    taken: dict[str, dict[str, Any]] = {}
    for table, setting in _all_settings():
        if setting.metadata["reload"]:
            value = getattr(getattr(new, table), setting.name)
            taken.setdefault(table, {})[setting.name] = value
    return replace(
        old,
        **{name: replace(getattr(old, name), **keys) for name, keys in taken.items()},
    )


def _all_settings() -> Iterator[tuple[str, Field[Any]]]:
    for table, cls in table_classes().items():
        for setting in fields(cls):
            yield table, setting
