"""What the scripts say on a machine that lacks what they need: one sentence, and nothing half-made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.portaudio import without_portaudio

ROOT = Path(__file__).parents[1]
TOOLS = ("sh", "dirname", "id", "rm", "uname")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the scripts install packages on Linux")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The only folder of commands of a machine; whatever a test puts there is there besides."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(
            next(Path(place, tool) for place in ("/bin", "/usr/bin") if Path(place, tool).exists())
        )
    return folder


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!{text}\n")
    (folder / name).chmod(0o755)


def put_python(folder: Path, *version: int) -> None:
    """A Python of that version, without what makes virtual environments."""
    text = f"""{sys.executable}
import importlib.util, sys
sys.version_info = {version}
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "ensurepip" else found(name)
exec(sys.argv[2])"""
    put(folder, "python3", text)


def run(machine: Path, script: str, status: int = 1) -> list[str]:
    """What a script says that ends with that status, line by line."""
    python = {"make-venv.sh": "python3"}.get(script, sys.executable)
    done = subprocess.run(
        ["/bin/sh", ROOT / "scripts" / script, python, ".venv"],
        env={"PATH": str(machine), **without_portaudio(machine)},
        cwd=machine.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert list(machine.parent.iterdir()) == [machine], "nothing is left half-made"
    return done.stderr.splitlines()


MISSING = pytest.mark.parametrize(
    ("script", "what"),
    [
        ("find-node.sh", "Node for the tests"),
        ("find-portaudio.sh", "PortAudio for the tests"),
        ("find-browser.sh", "A browser for the tests"),
        ("find-strace.sh", "strace for the tests that trace network calls"),
        ("make-venv.sh", "What makes virtual environments for Python 3.12"),
    ],
)
PACKAGES = {
    "find-node.sh": "nodejs npm",
    "find-portaudio.sh": "libportaudio2",
    "find-browser.sh": "chromium",
    "find-strace.sh": "strace",
    "make-venv.sh": "python3.12-venv",
}


@MISSING
def test_without_apt_it_says_what_to_install(machine: Path, script: str, what: str) -> None:
    if script == "find-browser.sh":
        pytest.skip("Playwright brings the browser where there is no apt")
    put_python(machine, 3, 12)
    (told,) = run(machine, script)
    assert told.startswith(f"{what} is missing, and there is no apt-get to install it: install ")
    assert told.endswith(", then run this again.")


@MISSING
def test_without_root_or_sudo_it_says_what_to_run_as_root(machine: Path, script: str, what: str) -> None:
    put_python(machine, 3, 12)
    put(machine, "apt-get", "/bin/sh\nexit 1")
    (machine / "id").unlink()
    put(machine, "id", "/bin/sh\necho 1000")
    (told,) = run(machine, script)
    assert told.startswith(f"{what} is missing, and installing it needs root or sudo: ")
    assert f"run apt-get install {PACKAGES[script]} as root" in told


@MISSING
@pytest.mark.parametrize("step", ["update", "install"])
def test_an_installer_s_error_is_shown(machine: Path, script: str, what: str, step: str) -> None:
    put_python(machine, 3, 12)
    error = "E: Failed to fetch the packages"
    put(machine, "apt-get", f'/bin/sh\nif [ "$1" = {step} ]; then echo "{error}" >&2; exit 100; fi')
    (machine / "id").unlink()
    put(machine, "id", "/bin/sh\necho 0")
    first, last = run(machine, script)
    assert first == error
    assert last.startswith(f"{what} could not be installed; apt-get says why above.")


def test_an_old_python_is_told(machine: Path) -> None:
    put_python(machine, 3, 9)
    (told,) = run(machine, "make-venv.sh")
    assert told.startswith("Earmark needs Python 3.10 or newer, and python3 is older: ")


def test_a_python_that_can_not_be_run_is_told(machine: Path) -> None:
    put(machine, "python3", "/bin/sh\nexit 127")
    (told,) = run(machine, "make-venv.sh")
    assert told.startswith("python3 can't be run: name another Python, 3.10 or newer")


def test_no_python_at_all_is_told(machine: Path) -> None:
    (told,) = run(machine, "make-venv.sh")
    assert told.startswith("There is no python3 here: install Python 3.10 or newer, or name it")


@pytest.mark.skipif(shutil.which("node") is None, reason="without Node")
@pytest.mark.parametrize("version", ["16.20.2", "18.0.0", "24.1.0"])
def test_the_version_of_node_decides(machine: Path, version: str) -> None:
    """Node 20 and newer end with an error when they are given an exit status that is no number."""
    (machine / "version.cjs").write_text(
        f"Object.defineProperty(process, 'versions', {{ value: {{ node: '{version}' }} }})"
    )
    put(machine, "npm", "/bin/sh")
    here = f"exec {shutil.which('node')} --require {machine}/version.cjs"
    put(machine, "node", f'/bin/sh\nif [ "$1" = --version ]; then echo v{version}; else {here} "$@"; fi')
    if version < "18":
        (told,) = run(machine, "find-node.sh")
        assert told.startswith(f"The tests need Node 18 or newer, and this is v{version}: install ")
    else:
        assert run(machine, "find-node.sh", status=0) == []
