"""Install Earmark for its tests with the lowest versions that pyproject.toml allows of all that it names.

    .venv-lowest/bin/python scripts/lowest.py    into the environment of this Python; `make lowest` runs the tests then

uv finds the versions, wheels alone, and pip installs them. Where there are no wheels of a lowest version, or another
package asks for a newer one, that version is never tried, and the bound isn't true: that is told, and ends this.
PyTorch is the one of constraints.txt, as others bring gigabytes of GPU libraries along. One Python stands for all: a
newer one, for which there are no wheels of old versions, gets newer versions from pip by itself.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINED = {"torch"}
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")


def main() -> None:
    _run(*PIP, "uv>=0.5", "packaging>=23", "tomli>=2; python_version < '3.11'")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lowest.txt")
        asked = ("pyproject.toml", "--extra", "test", "--constraint", "constraints.txt")
        wheels = ("--resolution", "lowest-direct", "--only-binary", ":all:")
        output = ("--quiet", "--no-annotate", "--no-header", "--output-file", str(file))
        _run(sys.executable, "-m", "uv", "pip", "compile", *asked, *wheels, *output)
        versions = dict(re.findall(r"^([\w.-]+)==(\S+)", file.read_text("utf-8"), re.M))
        if untried := above_their_bounds(versions):
            sys.exit(f"Error: raise these bounds in pyproject.toml, as nothing tries them: {'; '.join(untried)}.")
        _run(*PIP, "--constraint", str(file), "--constraint", "constraints.txt", "--editable", ".[test]")


def above_their_bounds(versions: dict[str, str]) -> list[str]:
    """The dependencies of which `versions` hold a newer one than the lowest that pyproject.toml allows."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = []
    for requirement in map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values())):
        name = canonicalize_name(requirement.name)
        if (
            name in CONSTRAINED
            or name not in versions
            or not (requirement.marker is None or requirement.marker.evaluate())
        ):
            continue
        (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
        if Version(versions[name]) != Version(bound):
            found.append(f"{name} {bound} ({versions[name]} is the lowest to be had)")
    return sorted(set(found))


def _run(*command: str) -> None:
    """What the command has to say is shown, and ends this where it fails."""
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"Error: `{' '.join(command[1:])}` ended with exit code {code}; what it said stands above.")


if __name__ == "__main__":
    main()
