"""Nothing leaves the machine, and homes hold only what docs/security.md names, whatever a user does."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import pytest
import soundfile
from packaging.requirements import Requirement

from earmark import Project
from tests import chirps, sounds

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
# A bare environment: what the tests themselves run in may have telemetry off, as any CI variable does.
BARE = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
LOOKED_UP_AFTER = 27  # seconds: ONNX Runtime asks for its maker's host once a process is 20 s old
LOOPBACK = re.compile(r'inet_addr\("127\.|"::1"|"::ffff:127\.')
ADDRESS = re.compile(r"sin6?_port=")
NAMES = re.compile(r"sin6?_port=htons\((53|853|5353)\)|systemd/resolve|avahi")  # a resolver, or what asks one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `tests.journey` needs."""
    snaps = Project(tmp_path / "snaps", create=True, labels=("Left", "Right"))
    spoken = Project(tmp_path / "spoken", create=True, mode="words")
    for take in range(2):
        snaps.add("Left", sounds.whistle(1.5, take), sounds.RATE)
        snaps.add("Right", sounds.snaps(1.5, take), sounds.RATE)
        for word in ("rise", "fall"):
            spoken.add(word, chirps.word(word, take=take), chirps.RATE)
    (tmp_path / "archive").mkdir()
    for file in ("one.wav", "archive/a.wav", "archive/b.wav"):
        soundfile.write(tmp_path / file, sounds.whistle(1.5, 9), sounds.RATE)
    return tmp_path


def journey(folder: Path, *options: object, around: Sequence[object] = (), **environment: str) -> None:
    """All steps that a user takes, within another program."""
    command = [*around, sys.executable, "-m", "tests.journey", folder, *options]
    outer = {**BARE, "HOME": str(folder), **environment}
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=outer, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def works(*command: str) -> bool:
    """Whether this machine has the program and lets us."""
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def tracer(file: Path) -> list[object]:
    """What notes all calls of a program and those that it starts that have to do with the network."""
    if not works("strace", "-f", "-e", "trace=network", "true"):
        pytest.skip("needs strace, and to be allowed to trace programs")
    return ["strace", "-f", "-qq", "-s", "128", "-e", "trace=network", "-o", file]


def strangers(trace: Path) -> set[str]:
    """The calls with an address other than a loopback one. Sockets of the machine itself (AF_UNIX) have none."""
    lines = trace.read_text("utf-8", "replace").splitlines()
    return {line for line in lines if ADDRESS.search(line) and (not LOOPBACK.search(line) or NAMES.search(line))}


def names_asked(trace: Path) -> set[str]:
    """The names that a resolver was asked for: each in what a process sends after it has connected to it."""
    asked, asking = set(), set()
    for line in trace.read_text("utf-8", "replace").splitlines():
        process = line.split()[0]
        if NAMES.search(line) and "connect(" in line:
            asking.add(process)
        elif process in asking and (sent := re.search(r'send\w*\(.*?"((?:[^"\\]|\\.)*)"', line)):
            asked.add(question(ast.literal_eval(f'b"{sent[1]}"')))  # strace escapes as C does, and so Python
            asking.remove(process)
    return asked


def question(message: bytes) -> str:
    """The name that is asked for: labels behind their lengths, after a header of twelve bytes (RFC 1035, 4.1)."""
    labels, at = [], 12
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels)


def kept(homes: Path) -> dict[str, set[str]]:
    """The files and folders that are left in each step's home."""
    return {
        home.name: {
            str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() or not any(path.iterdir())
        }
        for home in homes.iterdir()
    }


def documented() -> list[str]:
    """The folders that docs/security.md names, as they are in a home on Linux."""
    table = PAGE[PAGE.index("| folder |") :].split("\n\n")[0].splitlines()[2:]
    return [name.removeprefix("~/") for row in table for name in re.findall(r"`(~/[^`]+)`", row.split("|")[1])]


def test_a_call_beyond_loopback_would_be_seen(tmp_path: Path) -> None:
    """To connect a datagram socket sends nothing."""
    program = (
        "import socket\n"
        "for address in (('127.0.0.1', 9), ('127.0.0.1', 53), ('192.0.2.1', 9)):\n"
        "    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(address)"
    )
    trace = tmp_path / "trace"
    subprocess.run([*map(str, tracer(trace)), sys.executable, "-c", program], check=True, env=BARE)
    seen = sorted(line for line in strangers(trace) if "connect(" in line)
    assert len(seen) == 2
    assert "htons(53)" in seen[0]
    assert "192.0.2.1" in seen[1]


def test_nothing_leaves_the_machine(folder: Path) -> None:
    """The commands that take a moment, a scan's processes and a server. All the others are tried below."""
    trace = folder / "trace"
    journey(folder, "--steps", "recognize", "scan", "serve", around=tracer(trace))
    assert "127.0.0.1" in trace.read_text("utf-8", "replace")
    assert strangers(trace) == set()
    assert kept(folder / "homes") == {"recognize": set(), "scan": set(), "serve": set()}


@pytest.mark.slow
def test_nothing_leaves_the_machine_whatever_is_done_and_however_long(folder: Path) -> None:
    trace = folder / "trace"
    journey(folder, "--seconds", LOOKED_UP_AFTER, around=tracer(trace))
    assert strangers(trace) == set()
    found = kept(folder / "homes")
    assert {home for home, files in found.items() if files} == {"train words", "evaluate", "studio"}
    assert found["train words"] == {".cache/earmark/embeddings.sqlite"}
    assert all(name.startswith(tuple(documented())) for files in found.values() for name in files)


@pytest.mark.slow
def test_without_a_network_everything_works(folder: Path) -> None:
    if not works("unshare", "--net", "true"):
        pytest.skip("needs util-linux's unshare, and to be root")
    steps = ("recognize", "train words", "serve", "studio")  # where it trains and evaluates, too
    journey(folder, "--loopback", "--steps", *steps, around=("unshare", "--net"))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["takes no files", "read-only"])
def test_a_home_that_cannot_be_written_is_no_matter(folder: Path, what: str) -> None:
    """`tests.journey` fails if a step prints a warning. A mode wouldn't keep root from writing."""
    steps = ("train words", "evaluate", "scan")
    if what == "takes no files":
        if not Path("/proc/self").exists():
            pytest.skip("needs Linux's /proc")
        journey(folder, "--home", "/proc", "--steps", *steps)
        return
    if not works("unshare", "--mount", "true"):
        pytest.skip("needs util-linux's unshare, to be root, and to be in no chroot")
    home = folder / "home"
    home.mkdir()
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/a" 2>/dev/null && exec "$@"'
    around = ("unshare", "--mount", "sh", "-c", mount, home)
    journey(folder, "--home", home, "--steps", *steps, around=around)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_a_ray_cluster_of_this_machine_stays_on_it(folder: Path) -> None:
    """But for what docs/security.md says of Ray: it asks whether it runs in a cloud."""
    pytest.importorskip("ray")
    trace = folder / "trace"
    arguments = ["scan", "archive", "--output", "found.csv", "--workers", "2", "--ray", "local"]
    command = [*map(str, tracer(trace)), sys.executable, "-m", "earmark", *arguments]
    home = folder / "homes" / "ray"
    home.mkdir(parents=True)
    subprocess.run(command, cwd=folder, env={**BARE, "HOME": str(home)}, check=True)
    clouds = {"169.254.169.254", "metadata.google.internal"}
    others = {line for line in strangers(trace) if "169.254.169.254" not in line and not NAMES.search(line)}
    assert others == set()
    # Where no /etc/hosts knows this machine, as in a bare chroot, its resolver is asked for it.
    assert names_asked(trace) <= clouds | {"localhost", "1.0.0.127.in-addr.arpa"}
    assert all(cloud in PAGE for cloud in clouds)
    assert kept(folder / "homes")["ray"] <= {".ray/auth_token"}
    assert ".ray/" in documented()


@pytest.mark.parametrize("value", ["0", ""])
def test_a_value_that_the_user_has_set_stays(value: str) -> None:
    """Without the runtime, which would then send: a package of its name stands in for it."""
    program = (
        "import sys, types, os; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); "
        "from earmark.models.runtime import load_runtime; load_runtime(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**BARE, "ORT_DISABLE_TELEMETRY": value},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told == f"{value}\n"


def imports(tree: ast.Module) -> set[str]:
    """The packages that a module imports when it runs, rather than for its types."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_one_module_loads_the_runtime() -> None:
    """The others ask it, so that nothing loads the runtime before its telemetry is off."""
    files = [file for part in ("src", "benchmarks", "recipes", "reliability") for file in (ROOT / part).rglob("*.py")]
    assert len(files) > 100
    named = {file.name: text for file in files if "onnxruntime" in (text := file.read_text("utf-8"))}
    loading = {name for name, text in named.items() if "onnxruntime" in imports(ast.parse(text))}
    assert loading == {"runtime.py"}


def test_each_package_is_spoken_of() -> None:
    """Whoever adds a dependency looks at what it sends and writes, and says so."""
    wanted = [Requirement(one) for one in requires("earmark") or []]
    ours = re.compile('extra == "(test|dist)"')  # what we work with, and users don't install
    names = {one.name for one in wanted if not ours.search(str(one.marker or ""))} - {"earmark"}
    assert len(names) >= 20
    assert {name for name in names if not re.search(rf"\b{name}\b", PAGE)} == set()
