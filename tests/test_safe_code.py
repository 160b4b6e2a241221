"""What our code must never do with what comes from outside: unpickle, evaluate, call a shell, unpack by name.

The code itself is read, so that no way is forgotten: whoever adds such a call sees this test fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "src").rglob("*.py"))
OURS = [*SHIPPED, *sorted((ROOT / "recipes").rglob("*.py")), *sorted((ROOT / "scripts").rglob("*.py"))]

MODULES = {
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code", "codeop", "pty",
    "imp", "runpy", "tarfile", "telnetlib", "xmlrpc", "yaml",
}  # fmt: skip
# XML parsers open other files where a document asks them to.
MODULES |= {"xml", "lxml"}
NAMES = {"eval", "exec", "compile", "__import__", "breakpoint"}
CALLS = {
    "os.system", "os.popen", "os.fork", "os.startfile", "subprocess.getoutput", "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell", "tempfile.mktemp", "shutil.unpack_archive", "zipfile.ZipFile.extractall",
    "ssl._create_unverified_context", "torch.hub.load", "torch.jit.load", "numpy.fromregex",
}  # fmt: skip
METHODS = {"extract", "extractall", "set_wakeup_fd", "load_library", "register_custom_ops_library"}
PROGRAMS = {"run", "Popen", "call", "check_call", "check_output", "create_subprocess_exec"}
# Who may start programs, and which: each is a list of arguments, whose first is a fixed program's path.
STARTERS = {"bench.py", "audio/compressed_audio.py", "studio/trainer.py"}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of such an expression; an empty text of any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else f"?.{node.attr}"
    return ""


def keyword(call: ast.Call, name: str) -> object:
    """The constant that an argument is; None where it isn't given."""
    for given in call.keywords:
        if given.arg == name:
            return given.value.value if isinstance(given.value, ast.Constant) else ...
    return None


def is_unsafe(call: ast.Call) -> bool:
    name = dotted(call.func)
    first, last = name.split(".")[0], name.split(".")[-1]
    if name in NAMES or name in CALLS or (last in METHODS and "." in name):
        return True
    if name == "torch.load":
        return keyword(call, "weights_only") is not True
    if name in ("np.load", "numpy.load"):
        return keyword(call, "allow_pickle") is not False
    if last in ("read_array", "write_array", "read_magic_and_array") and first in ("np", "numpy"):
        return keyword(call, "allow_pickle") is not False
    if last in PROGRAMS and first in ("subprocess", "asyncio", "psutil"):
        return keyword(call, "shell") is not None or (bool(call.args) and isinstance(call.args[0], ast.JoinedStr))
    return False


def unsafe(text: str) -> Iterator[str]:
    """What the code does that it mustn't, a line each."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and is_unsafe(node):
            yield f"{node.lineno}: {dotted(node.func)}"
            continue
        elif isinstance(node, ast.Name) and node.id in NAMES:  # handed on, to be called elsewhere
            yield f"{node.lineno}: {node.id}"
            continue
        else:
            continue
        for name in names:
            if name.split(".")[0] in MODULES or name in CALLS:
                yield f"{node.lineno}: {name}"


@pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(ROOT)))
def test_our_code_does_nothing_of_that(file: Path) -> None:
    assert list(unsafe(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from marshal import loads", "import shelve as s", "eval(text)", "exec(text)",
        "compile(text, '', 'eval')", "map(eval, texts)", "os.system(command)", "from os import system",
        "subprocess.run(command, shell=True)", "subprocess.Popen(f'rm {name}')", "torch.load(file)",
        "torch.load(file, weights_only=False)", "np.load(file)", "np.load(file, allow_pickle=True)",
        "import yaml", "tempfile.mktemp()", "archive.extractall(folder)", "zipfile.ZipFile(file).extract(name)",
        "np.lib.format.read_array(file)", "__import__(name)",
        "import xml.etree.ElementTree", "options.register_custom_ops_library(file)",
        "asyncio.create_subprocess_shell(command)",
    ],
)  # fmt: skip
def test_each_of_them_is_seen(line: str) -> None:
    assert list(unsafe(line))


def test_what_is_safe_is_let_be() -> None:
    assert not list(unsafe("torch.load(f, weights_only=True); re.compile(t); np.load(f, allow_pickle=False); n.eval()"))


def started(text: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and dotted(node.func).split(".")[-1] in PROGRAMS
        and dotted(node.func).split(".")[0] in ("subprocess", "asyncio", "psutil")
        and dotted(node.func) != "asyncio.run"
        for node in ast.walk(ast.parse(text))
    )


def test_few_modules_start_programs() -> None:
    package = ROOT / "src" / "earmark"
    starters = {file.relative_to(package).as_posix() for file in SHIPPED if started(file.read_text(encoding="utf-8"))}
    assert starters == STARTERS


def test_ffmpeg_is_told_the_container_and_may_open_the_one_file_alone() -> None:
    """Left to guess, it knows playlists and lists of files (HLS, concat), which name others or web addresses."""
    tree = ast.parse((ROOT / "src/earmark/audio/compressed_audio.py").read_text(encoding="utf-8"))
    (opened,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) == "av.open"]
    assert ast.unparse(opened.args[2]) == "container"
    text = (ROOT / "src/earmark/audio/compressed_audio.py").read_text(encoding="utf-8")
    assert "-protocol_whitelist file -f {container}" in text
