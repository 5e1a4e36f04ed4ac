"""Turns a parsed TOML tree into ``Settings``, or tells each mistake in one line."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from dcmirror import config_kafka, config_kafka_pairs
from dcmirror.config_checks import CHECKS, expectation
from dcmirror.config_lines import Lines, line_numbers
from dcmirror.errors import ConfigError
from dcmirror.settings import Settings

_SHOWN_CHARACTERS = 80
#: What dcmirror writes besides the mirror; in there an upload could replace it.
_OWN_FILES = (
    ("local", "failedtasksfile"),
    ("state", "directory"),
    ("journal", "export"),
    ("log", "file"),
)
_ABSENT = object()


def table_classes() -> dict[str, Any]:
    """The class of each table of the file, in the file's order."""
    return get_type_hints(Settings)


@dataclass
class Reader:
    """One pass over one file; gathers all problems instead of stopping at the first."""

    name: str
    text: str
    environ: Mapping[str, str]
    problems: list[tuple[int, str]] = field(default_factory=list)

    @cached_property
    def lines(self) -> Lines:
        return line_numbers(self.text)  # only wanted when something is wrong

    def settings(self, tree: dict[str, Any]) -> Settings:
        """The checked settings.

        Raises:
            ConfigError: with a line for each problem, in the order of the file.
        """
        tables = table_classes()
        for key in tree.keys() - tables.keys():
            self._unknown_table(key, tree[key])
        self._missing(tree, tables)
        values = {}
        for table, cls in tables.items():
            content = tree.get(table, {})
            if not isinstance(content, dict):
                self._report((table,), f"{table} = {shown(content)}: expected a table")
                continue
            values[table] = self._table(table, cls, content)
        self._tell_problems()
        settings = Settings(**values)
        self._outside_mirror(settings)
        self._tell_problems()
        return settings

    def _tell_problems(self) -> None:
        if self.problems:
            raise ConfigError("\n".join(text for _, text in sorted(self.problems)))

    def _outside_mirror(self, settings: Settings) -> None:
        mirror = settings.local.downloadfolder
        for table, key in _OWN_FILES:
            path = getattr(getattr(settings, table), key)
            if path is not None and path.is_relative_to(mirror):
                what = "a path outside of the mirror, where no upload can replace it"
                self._expected((table, key), path, what)

    def _table(self, table: str, cls: Any, content: dict[str, Any]) -> Any:
        hints = get_type_hints(cls)
        known = {setting.name: setting for setting in fields(cls)}
        values = {}
        for key, raw in content.items():
            if key not in known:
                self._unknown_key(table, key)
                continue
            value = self._value((table, key), raw, hints[key], known[key])
            if value is not _ABSENT:
                values[key] = value
        return None if self.problems else cls(**values)

    def _value(
        self, path: tuple[str, ...], raw: Any, hint: Any, setting: Field[Any]
    ) -> Any:
        if get_origin(hint) is dict:
            return self._client(path, raw)
        value = convert(raw, hint)
        if value is _ABSENT:
            self._expected(path, raw, _type_in_words(hint))
            return _ABSENT
        return value if self._is_good(path, raw, value, setting) else _ABSENT

    def _is_good(
        self, path: tuple[str, ...], raw: Any, value: Any, setting: Field[Any]
    ) -> bool:
        if value == () and setting.default != ():
            self._expected(path, raw, "at least one entry")
            return False
        for text in value if isinstance(value, tuple) else (value,):
            wrong = _wrong(text, setting.metadata["check"])
            if wrong:
                self._expected(path, text, wrong)
                return False
        return True

    def _client(self, path: tuple[str, ...], raw: Any) -> Any:
        if not isinstance(raw, dict):
            self._expected(path, raw, "a table")
            return _ABSENT
        client: dict[str, Any] = {}
        for key, value in raw.items():
            name, text = self._indirect((*path, key), value)
            if name is not None:
                self._client_key((*path, key), name, text, client)
        if not self.problems:
            self._client_pairs(path, client)
        return client

    def _client_pairs(self, path: tuple[str, ...], client: dict[str, Any]) -> None:
        for key, what in config_kafka_pairs.mistakes(client):
            value = client[key]
            self._expected((*path, key), value, what)

    def _client_key(
        self, path: tuple[str, ...], name: str, value: Any, client: dict[str, Any]
    ) -> None:
        if name in client:
            self._report(path, f"[kafka.client] {name}: given twice")
        elif name in config_kafka.OURS:
            reason = config_kafka.OURS[name]
            self._report(path, f"[kafka.client] {name}: not to be set here; {reason}")
        elif name not in config_kafka.KNOWN:
            hint = _nearest(name, config_kafka.KNOWN | config_kafka.OURS.keys())
            self._report(path, f"[kafka.client] {name}: unknown key{hint}")
        elif wrong := config_kafka.problem(name, value):
            self._expected(path, value, wrong)
        elif name in config_kafka.FILES and not _is_readable(value):
            self._expected(path, value, "a file that can be read")
        else:
            is_version = name in config_kafka.VERSION
            client[name] = config_kafka.version_of(value) if is_version else value

    def _indirect(self, path: tuple[str, ...], value: Any) -> tuple[str | None, Any]:
        """Resolve ``key_file`` and ``key_env``, which keep secrets out of this file."""
        key = path[-1]
        if key.endswith("_file") and key not in config_kafka.KNOWN:
            return self._from_file(path, key.removesuffix("_file"), value)
        if key.endswith("_env"):
            return self._from_environment(path, key.removesuffix("_env"), value)
        return key, value

    def _from_file(
        self, path: tuple[str, ...], name: str, value: Any
    ) -> tuple[str | None, Any]:
        try:
            return name, Path(value).read_text("utf-8").rstrip("\r\n")
        except (OSError, TypeError, ValueError):
            self._expected(path, value, "a text file that can be read")
            return None, None

    def _from_environment(
        self, path: tuple[str, ...], name: str, value: Any
    ) -> tuple[str | None, Any]:
        if isinstance(value, str) and value in self.environ:
            return name, self.environ[value]
        self._expected(path, value, "the name of an environment variable that is set")
        return None, None

    def _missing(self, tree: dict[str, Any], tables: dict[str, Any]) -> None:
        missing = [
            f"[{table}] {key}"
            for table, cls in tables.items()
            for key in required_keys(cls)
            if isinstance(content := tree.get(table, {}), dict) and key not in content
        ]
        if missing:
            keys = ", ".join(missing)
            self.problems.append((0, f"{self.name}: missing required {keys}"))

    def _unknown_table(self, key: str, value: Any) -> None:
        if not isinstance(value, dict):
            homes = [t for t, c in table_classes().items() if key in _names(c)]
            hint = f"; it belongs under [{homes[0]}]" if homes else ""
            self._report((key,), f"{key}: stands outside of a table{hint}")
            return
        hint = _nearest(key, table_classes())
        self._report((key,), f"[{key}]: unknown table{hint}")

    def _unknown_key(self, table: str, key: str) -> None:
        tables = table_classes()
        hint = _nearest(key, _names(tables[table]))
        homes = [t for t, c in tables.items() if t != table and key in _names(c)]
        if homes:
            hint = f"; did you mean [{homes[0]}] {key}?"
        self._report((table, key), f"[{table}] {key}: unknown key{hint}")

    def _expected(self, path: tuple[str, ...], value: Any, what: str) -> None:
        *tables, key = path
        secret = key in config_kafka.SECRET
        text = "(not shown)" if secret else shown(value)
        self._report(path, f"[{'.'.join(tables)}] {key} = {text}: expected {what}")

    def _report(self, path: tuple[str, ...], text: str) -> None:
        by_other_names = (
            (*path[:-1], f"{path[-1]}{end}") for end in ("", "_file", "_env")
        )
        line = next((self.lines[p] for p in by_other_names if p in self.lines), None)
        place = f"{self.name}:{line}" if line else self.name
        self.problems.append((line or 0, f"{place}: {text}"))


def _wrong(value: Any, check: str) -> str | None:
    """Why a value of the right type will not do, as the end of "expected ..."."""
    if isinstance(value, str | Path):
        text = str(value)
        if not text.strip():
            return "something that is not empty"
        if not text.isprintable():
            return "text without control characters"
    if check and not CHECKS[check](value):
        return expectation(CHECKS[check])
    return None


def _is_readable(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def required_keys(table: Any) -> list[str]:
    """Keys of a table that have no default."""
    return [
        setting.name
        for setting in fields(table)
        if setting.default is MISSING and setting.default_factory is MISSING
    ]


def _names(table: Any) -> list[str]:
    return [setting.name for setting in fields(table)]


def _nearest(word: str, known: Any) -> str:
    matches = difflib.get_close_matches(word.lower(), sorted(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def convert(raw: Any, hint: Any) -> Any:
    """``raw`` as the setting's type, strictly; ``_ABSENT`` where it is another type."""
    kind = _plain_type(hint)
    if get_origin(kind) is tuple:
        is_list = isinstance(raw, list) and all(isinstance(item, str) for item in raw)
        return tuple(raw) if is_list else _ABSENT
    if kind is bool:
        return raw if isinstance(raw, bool) else _ABSENT
    if isinstance(raw, bool):
        return _ABSENT
    if isinstance(raw, int) and not -(1 << 63) <= raw < 1 << 63:
        return _ABSENT  # more than TOML itself promises, or a float can hold
    if kind is float:
        is_number = isinstance(raw, int | float) and math.isfinite(raw)
        return float(raw) if is_number else _ABSENT
    if kind is Path:
        return Path(raw) if isinstance(raw, str) and raw else _ABSENT
    return raw if isinstance(raw, kind) else _ABSENT


def _plain_type(hint: Any) -> Any:
    """The type without ``| None``: TOML has no null, an absent key is None."""
    if isinstance(hint, UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


def _type_in_words(hint: Any) -> str:
    kind = _plain_type(hint)
    if get_origin(kind) is tuple:
        return 'a list of strings, such as ["a", "b"]'
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a string in quotes",
        Path: "a path in quotes",
    }
    return words[kind]


def shown(value: Any) -> str:
    """A value as TOML would write it, short and free of control characters."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str | Path):
        text = json.dumps(str(value), ensure_ascii=not str(value).isprintable())
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(item) for item in value) + "]"
    elif isinstance(value, dict):
        text = "{...}"
    elif isinstance(value, int) and value.bit_length() > 256:
        text = hex(value)  # Python refuses to write very long ones in decimals
    else:
        text = str(value)
    is_short = len(text) <= _SHOWN_CHARACTERS
    return text if is_short else text[: _SHOWN_CHARACTERS - 3] + "..."
