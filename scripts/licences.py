"""Write docs/licences.md: every package that Earmark needs, directly or not, and its licence.

    python scripts/licences.py           writes the page
    python scripts/licences.py --check   says whether it names all dependencies, exit code 1 if not

The packages are found by walking from pyproject.toml through what the installed packages say they need, so that what
else is installed doesn't matter. Run it where `earmark[test]` is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
OWN = "earmark"
TOOLS = {"dist", "test"}  # extras for whoever works on Earmark
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|Unlicense|HPND|MIT-CMU|0BSD|CC0)", re.I
)
NOT_PERMISSIVE = re.compile(r"\b(A?GPL|LGPL|MPL|Mozilla|EPL|EUPL|CDDL|Proprietary|NVIDIA)", re.I)
# What the metadata doesn't say: what else the wheels contain, looked up in them.
NOTES = {
    "av": "The wheels contain FFmpeg, which calls itself LGPL-3.0-or-later, and also x264 and x265 (GPL-2.0-or-later), "
    "encoders that Earmark never calls.",
    "soundfile": "The wheels contain libsndfile, LAME and mpg123 (LGPL-2.1-or-later, LGPL-2.0-or-later), as a separate "
    "library that can be replaced.",
    "soxr": "libsoxr (LGPL-2.1-or-later) is part of the package's one extension module, which can be rebuilt and "
    "replaced.",
    "numpy": "The wheels contain OpenBLAS (BSD) and GCC's run-time libraries (GPL-3.0 with the run-time exception, "
    "which requires nothing of their users; libquadmath LGPL-2.1-or-later).",
    "matplotlib": "A licence of its own, like Python's.",
    "torch": "The package index's builds for Linux bring the packages nvidia-*, under NVIDIA's own licence.",
    "ray": "The wheel contains copies of other packages, under permissive licences.",
}  # fmt: skip


def dependencies() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for: by extra, "" without any; those of the tools are left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: list(map(Requirement, wanted)) for extra, wanted in extras.items() if extra not in TOOLS}


def needed() -> dict[str, tuple[set[str], str]]:
    """All packages: which extras need each ("" none), and what pyproject.toml asks of it, if that names it."""
    asked, found = dependencies(), dict[str, tuple[set[str], str]]()
    for extra, wanted in asked.items():
        for requirement in wanted:
            name = canonicalize_name(requirement.name)
            if name == OWN:  # an extra that brings others
                continue
            for package in _walk(requirement, set()):
                extras, range_ = found.get(package, (set(), ""))
                found[package] = (extras | {extra}, _range(requirement) if package == name else range_)
    return found


def _range(requirement: Requirement) -> str:
    """The lower bound first."""
    return ",".join(sorted(map(str, requirement.specifier), reverse=True))


def _walk(requirement: Requirement, seen: set[tuple[str, str]]) -> Iterator[str]:
    """The package and all that it needs here."""
    name = canonicalize_name(requirement.name)
    if requirement.marker is not None and not requirement.marker.evaluate({**environment(), "extra": ""}):
        return
    yield name
    for extra in {"", *requirement.extras}:
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in _installed(name).requires or ():
            inner = Requirement(text)
            if inner.marker is None or inner.marker.evaluate({**environment(), "extra": extra}):
                inner.marker = None
                yield from _walk(inner, seen)


def environment() -> dict[str, str]:
    return {name: str(value) for name, value in default_environment().items()}


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        sys.exit(f"{name} is not installed: pip install -e '.[test]' first.")


def licence(name: str) -> str:
    """What the package says of itself: its SPDX expression, its classifiers, or its first line of text."""
    metadata = _installed(name).metadata
    if expression := metadata.get_all("License-Expression"):
        return str(expression[0])
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")]
    if classifiers:
        return ", ".join(text.rsplit(" :: ", 1)[1] for text in classifiers)
    (text,) = metadata.get_all("License") or ["not told"]
    return str(text).strip().splitlines()[0][:60]


def is_permissive(text: str) -> bool:
    return PERMISSIVE.search(text) is not None and NOT_PERMISSIVE.search(text) is None


def page() -> str:
    """The page's text."""
    packages = needed()
    rows = []
    for name, (extras, asked) in sorted(packages.items()):
        told = licence(name)
        sign = "" if is_permissive(told) else " **(not permissive)**"
        where = "always" if "" in extras else ", ".join(sorted(extras))
        version = _installed(name).version.split("+")[0]
        rows.append(f"| {name} | {where} | {asked.replace('|', ' ') or 'by others'} | {version} | {told}{sign} |")
    notes = [f"- **{name}**: {NOTES[name]}" for name in sorted(NOTES) if name in packages]
    others = [name for name in sorted(packages) if not is_permissive(licence(name)) and name not in NOTES]
    notes += [f"- **{name}**: {licence(name)}." for name in others]
    here = f"Python {environment()['python_version']} on {environment()['sys_platform']}"
    return "\n".join(
        [
            "# Licences",
            "",
            "Earmark itself is under the Apache License 2.0 (`LICENSE`). This page lists all packages that it needs",
            "and the extras that bring them; `always` marks those that listening needs. Earmark's own wheel contains",
            "none of them: pip downloads each as its makers published it, under their licence.",
            "",
            f"Extras that bring other extras: {_nested()}.",
            "",
            f"`python scripts/licences.py` wrote this page with {here}.",
            "Other systems need a few small packages more or less. A test fails when a dependency is missing here.",
            "",
            "| package | extra | asked for | tested with | licence, according to the package |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            "## To know",
            "",
            "If you only use Earmark, you need do nothing about these licences. If you ship it, say inside a device,",
            "you must pass on the licences of what is in it, and let users replace the libraries under the LGPL.",
            "",
            *notes,
            "",
        ]
    )


def _nested() -> str:
    own = {
        extra: [one for one in wanted if canonicalize_name(one.name) == OWN] for extra, wanted in dependencies().items()
    }
    return "; ".join(
        f"`{extra}` brings {', '.join(f'`{brought}`' for one in brings for brought in sorted(one.extras))}"
        for extra, brings in own.items()
        if brings
    )


def missing() -> list[str]:
    """Dependencies of pyproject.toml that the page doesn't name."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    names = {canonicalize_name(one.name) for wanted in dependencies().values() for one in wanted} - {OWN}
    return sorted(name for name in names if not re.search(rf"^\| {re.escape(name)} \|", text, re.M) and _applies(name))


def _applies(name: str) -> bool:
    """Whether this system needs it: tomli is for older Pythons alone."""
    asked = [one for wanted in dependencies().values() for one in wanted if canonicalize_name(one.name) == name]
    return any(one.marker is None or one.marker.evaluate(environment()) for one in asked)


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        if names := missing():
            sys.exit(f"docs/licences.md lacks {', '.join(names)}: run python scripts/licences.py.")
        return
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written.\n")


if __name__ == "__main__":
    main()
