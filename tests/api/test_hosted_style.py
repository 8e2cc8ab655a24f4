"""The pages' colours: text stands out from what it stands on, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re

import pytest

from api.demo_page import CONTENT
from api.elements import SCRIPT
from api.hosted import STYLE

TEXT = [
    ("ink", "paper"),
    ("ink", "ground"),
    ("ink", "wait-soft"),
    ("soft", "paper"),
    ("soft", "ground"),
    ("soft", "wait-soft"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("good", "good-soft"),
    ("warn", "warn-soft"),
    ("accent", "wait-soft"),
]
EDGES = [("field", "paper"), ("accent", "paper"), ("ink", "paper")]


def themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root\{([^}]*)\}", STYLE)
    return {name: dict(re.findall(r"--([\w-]+):(#\w+)", css)) for name, css in (("light", light), ("dark", dark))}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [part / 255 for part in bytes.fromhex(digits)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_edges_stand_out(theme: str) -> None:
    colours = themes()[theme]
    assert {
        pair: contrast(*(colours[c] for c in pair)) for pair in TEXT if contrast(*(colours[c] for c in pair)) < 4.5
    } == {}
    assert {pair for pair in EDGES if contrast(*(colours[c] for c in pair)) < 3} == set()


def test_both_themes_name_the_same_colours_and_no_other_stands_in_the_style() -> None:
    light, dark = themes().values()
    assert light.keys() == dark.keys()
    rules = re.sub(r":root\{[^}]*\}", "", STYLE)
    assert set(re.findall(r"var\(--([\w-]+)\)", rules)) <= light.keys()
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", rules)


def test_the_demo_and_the_elements_have_the_colours_of_the_pages() -> None:
    """One palette: a colour of the same name is the same colour, and there is no other."""
    for text in (CONTENT["demo.css"].decode(), SCRIPT.decode()):
        named = re.findall(r"--([\w-]+): (?:var\(--authpipe-[\w-]+, )?(#\w+)", text)
        half = len(named) // 2
        for theme, colours in zip(themes().values(), (named[:half], named[half:]), strict=True):
            assert dict(colours) == {name: theme.get(name) for name, _ in colours}
            assert len(colours) >= 5
        assert len(re.findall(r"(?<![&\w])#[0-9a-f]{3,8}\b", text)) == len(named)
