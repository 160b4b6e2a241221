"""Build the last commit's wheel and sdist, prove that they are good, and write what the wheel brings along.

    python scripts/dist.py    wheel, sdist and bill of materials (CycloneDX) into dist/

Both are built twice, in folders that differ in name, age and permissions, and must be the same bytes: the first time
the wheel comes from the sdist, the second time from the commit, so that the sdist is known to be enough. They hold the
files that they should and no others. Then the wheel is installed, with its extra `studio`, in an empty environment
outside the checkout, where it recognizes, trains and shows its page. The bill of materials lists what is in that
environment. Run it where `earmark[dist]` is installed, with a way to the package index.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import wave
import zipfile
from array import array
from collections.abc import Iterable
from email.parser import Parser
from pathlib import Path, PurePosixPath
from typing import NoReturn
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
EXTRA = "studio"
# What the sdist holds besides the package and what the build adds; see [tool.hatch.build.targets.sdist].
SDIST = ("src/earmark/", "docs/", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", ".gitignore")
ADDED = {"PKG-INFO"}
RATE = 44_100
_TIMES = range(2 * RATE)  # two seconds


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="earmark-dist-") as name:
        folder = Path(name)
        epoch = int(_output("git", "log", "-1", "--format=%ct"))
        first, second = _commit(folder / "first"), _commit(folder / "the second")
        for file in second.rglob("*"):
            os.utime(file)
        built = build(first, folder / "built", epoch, 0o022)
        again = build(second, folder / "built again", epoch, 0o077, "--wheel", "--sdist")
        check_same(built, again)
        wheel, sdist = (next(file for file in built if file.name.endswith(end)) for end in (".whl", ".tar.gz"))
        version = check(wheel, sdist, first)
        python = install(wheel, folder / "environment")
        bill = write_bill(python, first / "pyproject.toml", folder / f"earmark-{version}.cdx.json", epoch)
        try_out(python.parent, folder / "outside", version)
        DIST.mkdir(exist_ok=True)
        for file in (wheel, sdist, bill):
            shutil.copyfile(file, DIST / file.name)
            _say(f"dist/{file.name}: {file.stat().st_size / 1e6:.2f} MB")


# Building


def _commit(folder: Path) -> Path:
    """The files of the last commit, in a folder of their own."""
    if changes := _output("git", "status", "--porcelain", "--untracked-files=no"):
        _say(f"Of the last commit; what has changed since is not in it:\n{changes}")
    _run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder))
    shutil.rmtree(folder / ".git")
    return folder


def build(source: Path, output: Path, epoch: int, umask: int, *what: str) -> list[Path]:
    """The wheel and the sdist; without `what` the wheel is built from the sdist."""
    _say(f"Building {'each by itself' if what else 'the sdist, and the wheel from it'}…")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), *what, str(source)]
    _run(*command, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}, umask=umask)
    return sorted(output.iterdir())


def check_same(built: list[Path], again: list[Path]) -> None:
    for one, other in zip(built, again, strict=True):
        if one.name != other.name or one.read_bytes() != other.read_bytes():
            _fail(f"{one.name} is not the same bytes when it is built again.")
    _say("Both are the same bytes when they are built again.")


# Checking


def check(wheel: Path, sdist: Path, source: Path) -> str:
    """Metadata and contents; returns the version."""
    _run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist))
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(opened.read(metadata).decode("utf-8"))
    committed = {file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()}
    compare(wheel, names, {name.removeprefix("src/") for name in committed if name.startswith("src/earmark/")})
    listed = _output("tar", "--list", "--gzip", "--file", str(sdist)).splitlines()
    packed = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in listed if not name.endswith("/")}
    compare(sdist, packed, ADDED | {name for name in committed if name.startswith(SDIST)})
    version = re.search(r'^__version__ = "(.+)"$', (source / "src/earmark/version.py").read_text("utf-8"), re.M)
    if version is None or told["Version"] != version[1]:
        _fail(f"The wheel calls itself {told['Version']}, which is not the version in src/earmark/version.py.")
    _say(f"Earmark {version[1]}: the wheel holds {len(names)} files, the sdist {len(packed)}.")
    return version[1]


def compare(file: Path, names: set[str], expected: set[str]) -> None:
    """The names are those of the commit: no test, no data, nothing forgotten."""
    if names != expected:
        lacks, more = (", ".join(sorted(some)) or "none" for some in (expected - names, names - expected))
        _fail(f"{file.name} doesn't hold the files that it should; missing: {lacks}; too many: {more}.")


# Installing


def install(wheel: Path, environment: Path) -> Path:
    """An environment with the wheel, its extra and what they need, and not even pip besides; returns its Python."""
    _say(f"Installing {wheel.name}[{EXTRA}] in an empty environment…")
    _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    _run(*pip, "install", "--quiet", f"{wheel}[{EXTRA}]")
    _run(*pip, "check")
    return python


def write_bill(python: Path, project: Path, file: Path, epoch: int) -> Path:
    """What is in the environment, as CycloneDX; the same bytes for the same packages."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python), "--pyproject", str(project)]
    settings = ["--output-reproducible", "--validate", "--output-file", str(file)]
    _run(*command, *settings, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})
    parts = json.loads(file.read_text("utf-8"))["components"]
    if not {"numpy", "onnxruntime"} <= {part["name"] for part in parts}:
        _fail("The bill of materials lacks what the wheel needs.")
    _say(f"The bill of materials lists {len(parts)} packages.")
    return file


# Trying it out


def try_out(programs: Path, folder: Path, version: str) -> None:
    """Recognize, train and show the page, as somebody does who has only the wheel."""
    folder.mkdir()
    for name, sound in {"left": _whistle, "right": _snaps, "noise": _murmur}.items():
        for take in (1, 2):
            _write(folder / f"{name}-{take}.wav", sound(random.Random(take)))
    # Nothing of the checkout, of this environment or of the user's home may help.
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR")}
    environment = {**kept, "HOME": str(folder), "PATH": f"{programs}:/usr/bin:/bin"}

    def earmark(*arguments: str) -> str:
        return _output("earmark", *arguments, cwd=folder, env=environment)

    if earmark("--version") != f"earmark {version}":
        _fail(f"The installed earmark is not {version}.")
    (word,) = map(json.loads, earmark("recognize", "noise-1.wav", "--json").splitlines())
    if len(word["scores"]) != 20 or word["label"] not in ("_background_noise_", "_unknown_"):
        _fail(f"The installed earmark heard {word['label']} in a murmur.")
    for name in ("left", "right", "noise"):
        earmark("record", "clapper", name.title(), "--input", f"{name}-1.wav", "--seconds", "2")
    earmark("train", "clapper")
    heard = earmark("recognize", "left-2.wav", "right-2.wav", "noise-2.wav", "--model", "clapper", "--json")
    if (labels := [json.loads(line)["label"] for line in heard.splitlines()]) != ["Left", "Right", "Noise"]:
        _fail(f"The installed earmark learnt badly: it took Left, Right, Noise for {', '.join(labels)}.")
    _open_page(folder, environment)
    _say("Outside the checkout it recognizes, trains and shows its page.")


def _open_page(folder: Path, environment: dict[str, str]) -> None:
    command = ["earmark", "studio", "clapper", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as studio:
        try:
            assert studio.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", studio.stdout.readline())
            if found is None:
                _fail("The installed studio doesn't tell its address.")
            with urlopen(found[0], timeout=60) as answer:
                page = answer.read().decode("utf-8")
            if "<title>Earmark studio</title>" not in page:
                _fail("The installed studio doesn't show its page.")
            for part in re.findall(r'(?:src|href)="(/[^"#]+)"', page):
                urlopen(found[0] + part, timeout=60).close()  # raises where it is missing
        finally:
            studio.send_signal(signal.SIGINT)


def _write(file: Path, samples: Iterable[float]) -> None:
    with wave.open(str(file), "wb") as opened:
        opened.setparams((1, 2, RATE, 0, "NONE", ""))
        opened.writeframes(array("h", (int(20_000 * max(-1.0, min(1.0, value))) for value in samples)).tobytes())


def _whistle(chance: random.Random) -> list[float]:
    wobble, depth = chance.uniform(3, 5), 200  # around 1,200 Hz, so often a second and so far
    phases = (1_200 * at / RATE - depth / math.tau / wobble * math.cos(math.tau * wobble * at / RATE) for at in _TIMES)
    return [0.5 * math.sin(math.tau * phase) + chance.gauss(0, 0.01) for phase in phases]


def _snaps(chance: random.Random) -> list[float]:
    every = RATE // 15
    return [chance.gauss(0, math.exp(-(at % every) / 400)) for at in _TIMES]


def _murmur(chance: random.Random) -> list[float]:
    return [chance.gauss(0, 0.01) for _ in _TIMES]


# Running others: what they have to say is shown, and ends this where they fail.


def _run(*command: str, **settings: object) -> None:
    _ended(command, subprocess.run(command, check=False, **settings).returncode)  # type: ignore[call-overload]


def _output(*command: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True, check=False)
    _ended(command, done.returncode)
    return done.stdout.strip()


def _ended(command: tuple[str, ...], code: int) -> None:
    if code:
        _fail(f"`{' '.join(command)}` ended with exit code {code}; what it said stands above.")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(sentence: str) -> NoReturn:
    sys.exit(f"Error: {sentence}")


if __name__ == "__main__":
    main()
