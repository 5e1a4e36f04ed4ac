"""HTML and SVG that cannot be broken out of: text is escaped unless it is markup."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"meta", "br", "hr", "col", "rect", "line", "path"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: str) -> Html:
    """Text as markup."""
    return value if isinstance(value, Html) else Html(escape(value))


def join(*parts: str, by: str = "") -> Html:
    """Parts after each other, those that are text escaped."""
    return Html(by.join(map(text, parts)))


def el(
    name: str, /, *children: str, **attributes: str | int | float | bool | None
) -> Html:
    """An element.

    ``class_`` is ``class``, an underscore in a name a hyphen; a value of None or False
    leaves an attribute out, True gives it no value.
    """
    head = name + "".join(
        _attribute(key, value)
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID and not children:
        return Html(f"<{head}/>" if name in ("rect", "line", "path") else f"<{head}>")
    return Html(f"<{head}>{''.join(map(text, children))}</{name}>")


def percent(share: float) -> str:
    """A share of 1 as a length, short."""
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def pixels(length: float) -> str:
    """A length in pixels, short."""
    return f"{length:.1f}".removesuffix(".0")


def _attribute(key: str, value: str | int | float | bool) -> str:
    key = key.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{escape(str(value))}"'
