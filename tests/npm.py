"""The npm package speech-commands in a real Chromium, with models and recordings of ours beside it."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.tfjs_node import MODULES, skip_without_node

SCRIPTS = {
    "tf.js": MODULES / "@tensorflow" / "tfjs" / "dist" / "tf.min.js",
    "speech-commands.js": MODULES / "@tensorflow-models" / "speech-commands" / "dist" / "speech-commands.min.js",
}
# Those that the code names which Teachable Machine shows: TensorFlow.js 1.3.1 and speech-commands 0.4.0.
TEACHABLE_MACHINE_SCRIPTS = {
    "tf.js": MODULES / "tfjs-1" / "dist" / "tf.min.js",
    "speech-commands.js": MODULES / "speech-commands-0.4" / "dist" / "speech-commands.min.js",
}
PAGE = """<!doctype html><meta charset="utf-8"><title>speech-commands</title>
<script src="tf.js"></script><script src="speech-commands.js"></script>"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path, scripts: Mapping[str, Path] = SCRIPTS) -> Iterator[str]:
    """A folder with a page that has loaded the package, on loopback; yields the page's address."""
    skip_without_node()
    for name, script in scripts.items():
        shutil.copy(script, folder / name)
    (folder / "index.html").write_text(PAGE)
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
