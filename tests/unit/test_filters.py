"""Rules decide in order, and globs match like gitignore's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.filters import Rules
from dcmirror.errors import ConfigError

Token = tuple[str, str]
SPECIAL = "*?[]!^\\-"
ALPHABET = "abc.~&|" + SPECIAL

literals = st.sampled_from(ALPHABET).map(lambda c: ("literal", c))
classes = st.tuples(
    st.sampled_from(["class", "not"]), st.text(ALPHABET, min_size=1, max_size=3)
)
components = st.lists(
    literals | classes | st.sampled_from([("star", ""), ("one", "")]),
    min_size=1,
    max_size=4,
).filter(lambda tokens: (("star", ""), ("star", "")) not in pairwise(tokens))
globs = st.lists(components | st.just("**"), min_size=2, max_size=4)
paths = st.lists(st.text(ALPHABET, min_size=1, max_size=4), min_size=1, max_size=4)


def matches(glob: str, relative: str) -> bool:
    return Rules.parse((f"exclude {glob}",)).excluded_by(relative) is not None


def written(token: Token) -> str:
    kind, text = token
    if kind == "literal":
        return f"\\{text}" if text in SPECIAL else text
    if kind in ("class", "not"):
        members = "".join(f"\\{c}" if c in SPECIAL else c for c in text)
        return f"[{'!' if kind == 'not' else ''}{members}]"
    return {"star": "*", "one": "?"}[kind]


def spelled(glob: list[list[Token] | str]) -> str:
    return "/".join(
        part if isinstance(part, str) else "".join(map(written, part)) for part in glob
    )


def matches_name(tokens: list[Token], name: str) -> bool:
    """The plain recursive meaning of a component, to compare with."""
    if not tokens:
        return name == ""
    (kind, text), rest = tokens[0], tokens[1:]
    if kind == "star":
        return any(matches_name(rest, name[i:]) for i in range(len(name) + 1))
    fits = {
        "literal": name[:1] == text,
        "class": name[:1] in text,
        "not": name[:1] not in text,
        "one": True,
    }
    return name != "" and fits[kind] and matches_name(rest, name[1:])


def matches_path(glob: list[list[Token] | str], path: list[str]) -> bool:
    """The plain recursive meaning of a glob with a slash."""
    if not glob:
        return not path
    head, rest = glob[0], glob[1:]
    if head == "**" and not rest:
        return bool(path)
    if isinstance(head, str):
        return any(matches_path(rest, path[i:]) for i in range(len(path) + 1))
    return bool(path) and matches_name(head, path[0]) and matches_path(rest, path[1:])


@given(globs, paths)
def test_glob_with_a_slash_means_what_its_components_mean(
    glob: list[list[Token] | str], path: list[str]
) -> None:
    assert matches_path(glob, path) == matches(spelled(glob), "/".join(path))


@given(components, paths)
def test_glob_without_a_slash_means_the_name_at_any_depth(
    component: list[Token], path: list[str]
) -> None:
    text = "".join(map(written, component))

    assert matches_name(component, path[-1]) == matches(text, "/".join(path))


@given(st.text("ab/*?[]!^\\-", min_size=1, max_size=8), paths)
def test_any_text_is_a_glob_or_a_configuration_error(
    glob: str, path: list[str]
) -> None:
    try:
        rules = Rules.parse((f"exclude {glob}",))
    except ConfigError:
        return
    assert rules.excluded_by("/".join(path)) in (None, f"exclude {glob}")


@pytest.mark.parametrize(
    ("glob", "relative", "expected"),
    [
        ("*.tmp", "a.tmp", True),
        ("*.tmp", "x/y/a.tmp", True),
        ("*.tmp", "a.tmp/b", False),
        ("*.tmp", "a.tmpx", False),
        ("scratch/**", "scratch/a/b", True),
        ("scratch/**", "scratch", False),
        ("scratch/**", "x/scratch/a", False),
        ("scratch/", "scratch/a/b", True),
        ("scratch/", "x/scratch/a", True),
        ("scratch/", "x/scratch", False),
        ("a/b/", "a/b/c/d", True),
        ("a/b/", "x/a/b/c", False),
        ("/a", "a", True),
        ("/a", "x/a", False),
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/b/b/c", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("**/c/d", "c/d", True),
        ("**/c/d", "a/b/c/d", True),
        ("**/c/d", "a/bc/d", False),
        ("**", "a/b", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("a[!b]c", "a/c", False),
        ("[]]", "]", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a+b(c)", "a+b(c)", True),
        ("with blank", "with blank", True),
        ("*.TMP", "a.tmp", False),
        ("*", "a\nb", True),
    ],
)
def test_glob(glob: str, relative: str, expected: bool) -> None:
    assert expected == matches(glob, relative)


def test_first_rule_that_matches_decides() -> None:
    rules = Rules.parse(("include keep/*.tmp", "exclude *.tmp", "include *"))

    assert rules.excluded_by("keep/a.tmp") is None
    assert rules.excluded_by("a.tmp") == "exclude *.tmp"
    assert rules.excluded_by("a.dat") is None


def test_no_match_includes() -> None:
    assert Rules.parse(("exclude a",)).excluded_by("b") is None
    assert Rules.parse(()).excluded_by("b") is None


def test_only_some_are_wanted_with_a_last_rule_that_excludes_all() -> None:
    rules = Rules.parse(("include *.fits", "exclude **"))

    assert rules.excluded_by("x/a.fits") is None
    assert rules.excluded_by("x/a.txt") == "exclude **"


@pytest.mark.parametrize(
    ("rules", "directory", "expected"),
    [
        (("exclude private/",), "private", True),
        (("exclude private/",), "a/private", True),
        (("exclude private/",), "private/below", True),
        (("exclude private/",), "privately", False),
        (("exclude *.tmp", "exclude a/scratch/**"), "a/scratch", True),
        (("exclude a/scratch/**",), "a", False),
        (("exclude a/x*",), "a", False),
        (("exclude x",), "a", False),
        (("include private/keep", "exclude private/"), "private", False),
        (("exclude private/", "include *"), "private", True),
        (("include *", "exclude private/"), "private", False),
        ((), "private", False),
    ],
)
def test_a_directory_of_which_all_is_excluded(rules, directory, expected) -> None:
    assert Rules.parse(rules).excludes_all_below(directory) is expected


@given(globs, st.sampled_from(["", "/", "/**"]), paths, paths)
def test_nothing_is_included_below_a_directory_of_which_all_is_excluded(
    glob: list[list[Token] | str], end: str, directory: list[str], below: list[str]
) -> None:
    rules = Rules.parse((f"exclude {spelled(glob)}{end}",))
    place = "/".join(directory)

    if rules.excludes_all_below(place):
        assert rules.excluded_by(f"{place}/{'/'.join(below)}") is not None


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "exclude",
        "exclude ",
        "drop *.tmp",
        "*.tmp",
        "exclude [a",
        "exclude []",
        "exclude [!]",
        "exclude [z-a]",
        "exclude [a--]",
        "exclude a\\",
        "exclude /",
    ],
)
def test_bad_rule_is_a_configuration_error_that_shows_it(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rules.parse(("include *", rule))

    assert repr(rule) in str(caught.value)
