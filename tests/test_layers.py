"""Imports go down the layers, in the order in which sound flows, and never in a circle.

Every import counts: those inside functions, those for type checkers alone, and modules that are named in a string.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "earmark"
FOUNDATIONS = {"errors", "version", "progress", "labels", "storage"}  # which every package may import
# Each package and those that it may import, besides those that they may. CONTRIBUTING.md says what lives where.
MAY_IMPORT: dict[str, set[str]] = {
    "storage": set(),
    "audio": set(),
    "front_end": {"audio"},
    "models": {"front_end"},
    "tfjs": {"models"},
    "clips": {"front_end", "models"},
    "recognizer": {"models", "tfjs"},
    "training": {"recognizer", "clips"},
    "pretraining": {"models", "clips"},
    "exchange": {"clips", "recognizer", "tfjs"},
    "scan": {"recognizer", "audio"},
    "web": {"recognizer"},
    "evaluation": {"training", "recognizer", "clips"},
    "project": {"training", "exchange", "evaluation"},
    "serving": {"web"},
    "studio": {"web", "project"},
    "bench": {"training", "scan"},
    "cli": {"bench", "pretraining", "scan", "serving", "studio"},
    "__main__": {"cli"},
}
# speech-commands' createTransfer: the one way up.
EXCEPTIONS = {("recognizer.recognizer", "project")}


def module_name(file: Path) -> str:
    """As Python calls it, without `earmark.`; the package itself is "earmark"."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "earmark"


MODULES = {module_name(file): file for file in sorted(SOURCE.rglob("*.py"))}


def imports(file: Path) -> set[str]:
    """The modules of ours that a file names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports relatively"
            names = [f"{node.module}.{name.name}" for name in node.names] + [str(node.module)]
            # `from package import module` is an import of the module, not of the package.
            names = names[:-1] if all(name.removeprefix("earmark.") in MODULES for name in names[:-1]) else names
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value.startswith("earmark.") else []
        found |= {name.removeprefix("earmark.") for name in names if name.partition(".")[0] == "earmark"}
    return found & MODULES.keys()


IMPORTS = {module: imports(file) - {module} for module, file in MODULES.items()}


def package(module: str) -> str:
    return module.partition(".")[0]


def allowed(name: str) -> set[str]:
    """What a package may import, directly or because another one that it may import may."""
    lower = MAY_IMPORT[name]
    return FOUNDATIONS | lower | {further for other in lower for further in allowed(other)}


def test_every_package_has_its_place_in_the_table() -> None:
    assert {package(module) for module in MODULES} - {"earmark"} - FOUNDATIONS | {"storage"} == MAY_IMPORT.keys()


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"earmark"}))
def test_a_module_imports_what_its_package_may(module: str) -> None:
    own = package(module)
    may = allowed(own) if own in MAY_IMPORT else FOUNDATIONS
    wrong = {
        other for other in IMPORTS[module] if package(other) not in may | {own} and (module, other) not in EXCEPTIONS
    }
    assert not wrong, f"{module} imports {sorted(wrong)}, which stand above {own}"


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {module: others for module, others in IMPORTS.items() if module != "earmark"}
    graph = {
        module: {other for other in others if (module, other) not in EXCEPTIONS} for module, others in graph.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


def test_the_exceptions_are_still_needed() -> None:
    assert {(module, other) for module, others in IMPORTS.items() for other in others} >= EXCEPTIONS
