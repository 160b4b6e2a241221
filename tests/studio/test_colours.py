"""The page's colours stand in one place, its palette: no other sheet and no script writes one out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.colors import CSS4_COLORS

from earmark.studio.server import STATIC

PALETTE = STATIC / "palette.css"
SHEETS = sorted(file for file in STATIC.rglob("*.css") if file != PALETTE)
SCRIPTS = sorted(STATIC.rglob("*.js"))

COMMENT = re.compile(r"/\*.*?\*/|^\s*//.*?$|(?<=[;,{)] )//.*?$", re.DOTALL | re.MULTILINE)
DECLARATION = re.compile(r"[\w-]+\s*:([^;{}]+)[;}]")  # and not the selectors, where #add is an id
STRING = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`]*`")
HEX = r"#(?:[\da-f]{3,4}|[\da-f]{6}|[\da-f]{8})\b"
FUNCTION = r"\b(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch|color)\("
NAME = rf"(?<![\w-])(?:{'|'.join(CSS4_COLORS)})(?![\w(-])"


def in_sheet(text: str) -> list[str]:
    """The colours that the values of a sheet write out."""
    values = (STRING.sub("", found[1]) for found in DECLARATION.finditer(COMMENT.sub("", text)))
    return [colour for value in values for colour in re.findall(f"{HEX}|{FUNCTION}|{NAME}", value, re.IGNORECASE)]


def in_script(text: str) -> list[str]:
    """The colours that the strings of a script write out. A name is a word: it counts where it is all of a string."""
    strings = [found[0][1:-1] for found in STRING.finditer(COMMENT.sub("", text))]
    written = [
        colour for string in strings for colour in re.findall(rf"(?<![\w.]){HEX}|{FUNCTION}", string, re.IGNORECASE)
    ]
    return written + [string for string in strings if re.fullmatch(NAME, string.strip(), re.IGNORECASE)]


def relative(file: Path) -> str:
    return file.relative_to(STATIC).as_posix()


@pytest.mark.parametrize("file", SHEETS, ids=relative)
def test_a_sheet_reads_its_colours_from_the_palette(file: Path) -> None:
    assert in_sheet(file.read_text("utf-8")) == []


@pytest.mark.parametrize("file", SCRIPTS, ids=relative)
def test_a_script_reads_its_colours_from_the_palette(file: Path) -> None:
    assert in_script(file.read_text("utf-8")) == []


COLOURS = (
    "#fff",
    "#C22530",
    "#00000080",
    "rgb(0 0 0 / 20%)",
    "HSL(120deg 50% 50%)",
    "oklch(0.5 0.1 20)",
    "tomato",
    "Black",
)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_that_is_written_out_is_found(colour: str) -> None:
    for sheet in (
        f"a {{\n  color: {colour};\n}}",
        f"a {{ border: 1px solid {colour} }}",
        f"a {{ --own: 0 0 3px {colour}; }}",
    ):
        assert len(in_sheet(sheet)) == 1, sheet
    for script in (f'node.style.color = "{colour}";', f"const COLOURS = ['{colour}', 1];"):
        assert len(in_script(script)) == 1, script


def test_what_only_looks_like_a_colour_is_none() -> None:
    sheet = """
        /* red, and not #fff */
        #add:hover .tan { color: var(--red); background: color-mix(in srgb, var(--ink) 8%, transparent); }
        .gold::before { content: "red"; border-color: currentcolor; transform: rotate(tan(1)); white-space: nowrap; }
    """
    assert in_sheet(sheet) == []
    script = """
        /** Its #fff is "red". */
        this.#add("/icons.svg#add", `${count} red ones`); // "red"
    """
    assert in_script(script) == []


def names_read() -> Iterator[str]:
    """The palette's colours that something reads."""
    for file in (PALETTE, *SHEETS):
        yield from re.findall(r"var\(--([\w-]+)", file.read_text("utf-8"))
    for file in SCRIPTS:
        yield from re.findall(r"\bcolours?\(\"([\w-]+)\"\)", file.read_text("utf-8"))


def names_set(text: str) -> set[str]:
    return set(re.findall(r"^\s+--([\w-]+):", text, re.MULTILINE))


def test_each_colour_of_the_palette_is_read_somewhere() -> None:
    """And what is set for the dark is there in the light."""
    light, dark = PALETTE.read_text("utf-8").split("@media", 1)
    assert names_set(light) - set(names_read()) == set()
    assert names_set(dark) <= names_set(light)


def test_each_name_that_is_read_is_set() -> None:
    """By a sheet, or by a script for the element that it belongs to."""
    by_sheets = set().union(*(names_set(file.read_text("utf-8")) for file in (PALETTE, *SHEETS)))
    by_scripts = {
        name for file in SCRIPTS for name in re.findall(r"setProperty\(\"--([\w-]+)", file.read_text("utf-8"))
    }
    assert set(names_read()) <= by_sheets | by_scripts


def test_the_page_links_every_sheet_and_the_palette_first() -> None:
    linked = re.findall(r'<link rel="stylesheet" href="/static/([\w.-]+)">', (STATIC / "index.html").read_text("utf-8"))
    assert linked[0] == PALETTE.name
    assert sorted(linked) == sorted(file.name for file in STATIC.glob("*.css"))
