"""Ask pip-audit whether any package that Earmark needs has a known vulnerability.

    python scripts/audit.py

It asks about exactly the packages of docs/licences.md, in the versions that are installed, and says plainly which of
them could not be looked up: silence would pass for safety. Exit code 0: all were looked up, none has a known
vulnerability. 1: one has. 2: pip-audit couldn't reach its data, wholly or in part.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from licences import needed

SECONDS = 600


def main() -> int:
    wanted = {name: version(name).split("+")[0] for name in sorted(needed())}
    found = audit(wanted)
    if found is None:
        sys.stdout.write("Not audited: pip-audit can't reach its data from here. Run this again where it can.\n")
        return 2
    text, code = report(found, wanted)
    sys.stdout.write(text)
    return code


def audit(wanted: dict[str, str]) -> list[dict[str, Any]] | None:
    """What pip-audit tells of each package; None where it tells nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("".join(f"{name}=={number}\n" for name, number in wanted.items()), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json", "-r", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
            told = json.loads(done.stdout)["dependencies"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return None
    return list(told)


def report(found: list[dict[str, Any]], wanted: dict[str, str]) -> tuple[str, int]:
    """The result in words, and the exit code."""
    looked_up = {one["name"]: one for one in found if "skip_reason" not in one}
    lines = [
        f"{name} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}."
        for name, one in sorted(looked_up.items())
        for flaw in one["vulns"]
    ]
    unknown = sorted(wanted.keys() - looked_up.keys())
    flawed = sum(bool(one["vulns"]) for one in looked_up.values())
    lines.append(f"{len(looked_up)} of {len(wanted)} packages looked up, {flawed} with known vulnerabilities.")
    if unknown:
        lines.append(f"Not looked up, since pip-audit didn't reach data on them: {', '.join(unknown)}.")
    return "\n".join(lines) + "\n", 1 if flawed else 2 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
