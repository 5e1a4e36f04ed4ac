"""Ordered include and exclude rules over paths below the folder.

The globs are those of ``config_globs``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dcmirror.config_globs import compiled
from dcmirror.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as written, and what it was compiled to."""

    text: str
    includes: bool
    pattern: re.Pattern[str]


class Rules:
    """The rules in order: the first that matches decides, no match includes."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)

    @classmethod
    def parse(cls, texts: tuple[str, ...]) -> Rules:
        """Read "include GLOB" and "exclude GLOB".

        Raises:
            ConfigError: with the rule and what is wrong with it.
        """
        return cls(_parse_rule(text) for text in texts)

    def excluded_by(self, relative: str) -> str | None:
        """The text of the rule that excludes a path, None when it is included."""
        for rule in self._rules:
            if rule.pattern.fullmatch(relative):
                return None if rule.includes else rule.text
        return None

    def excludes_all_below(self, directory: str) -> bool:
        """Whether no path in a directory is included, as far as that is plain.

        An include rule that comes first may match anything there.
        """
        for rule in self._rules:
            if rule.includes:
                return False
            # These end behind a slash: if they match one name below, then all.
            ends_deep = rule.text.endswith(("/", "/**"))
            if ends_deep and rule.pattern.fullmatch(f"{directory}/x"):
                return True
        return False


def _parse_rule(text: str) -> Rule:
    verb, glob = (*text.split(maxsplit=1), "", "")[:2]
    glob = glob.strip()
    if verb not in ("include", "exclude") or not glob:
        raise ConfigError(
            f'filter rule {text!r}: expected "include GLOB" or "exclude GLOB"'
        )
    try:
        pattern = compiled(glob)
    except ValueError as exc:
        raise ConfigError(f"filter rule {text!r}: {exc}") from exc
    return Rule(text.strip(), verb == "include", pattern)
