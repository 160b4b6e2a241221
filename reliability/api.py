"""The HTTP of both servers asked by schemathesis: whatever comes, no server error, and answers as they are described.

    python -m reliability api

Schemathesis runs as its own command against real servers. What it found is checked against what the servers counted.
The studio's rate of changes is not limited here, so that more of them come through.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.table import Claim
from earmark.project import Project

LONG_SECONDS, SHORT_SECONDS = 300, 6  # of generated requests to each server
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
UNLIMITED = """
from earmark.web import limits
limits.CHANGES_A_SECOND = limits.CHANGES_AT_ONCE = 1e9
from earmark.cli.main import main
main()
"""
PHASES = "examples,coverage,fuzzing"
FEWEST = 10  # requests, without which nothing was tried; a busy machine makes few in some seconds
TRAINING = "/api/(train|evaluate)$"  # minutes of work each, which tests of their own look at


def run(long: bool) -> list[Claim]:
    """Both servers, each for some minutes or some seconds."""
    seconds = LONG_SECONDS if long else SHORT_SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _server("serve", "words") as address:
            served = _ask(f"{address}/openapi.json", seconds, "--checks", CHECKS)
            checks = [_check("earmark serve, its answers as described", served, address)]
        schema = _studio_schema(folder)
        with _server("studio", str(folder / "project"), "--no-browser") as address:
            asked = ("--checks", "not_a_server_error", "--header", "X-Earmark: studio", "--url", address)
            studio = _ask(str(schema), seconds, *asked, "--exclude-path-regex", TRAINING)
            checks.append(_check("earmark studio", studio, address))
    return checks


def _studio_schema(folder: Path) -> Path:
    """The studio describes itself to nobody; its app could."""
    from earmark.studio.server import create_app

    path = folder / "openapi.json"
    path.write_text(json.dumps(create_app(Project(folder / "project", create=True, mode="sounds")).openapi()))
    return path


def _ask(schema: str, seconds: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schemathesis.cli", "run", schema, "--max-time", str(seconds), *options]
    quiet = ("--continue-on-failure", "--warnings", "off", "--no-color", "--request-timeout", "60", "--phases", PHASES)
    done = subprocess.run([*command, *quiet], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr)
    return done


def _check(server: str, asked: subprocess.CompletedProcess[str], address: str) -> Claim:
    counted = urllib.request.urlopen(f"{address}/metrics", timeout=60).read().decode()
    answers = re.findall(r'^earmark_http_requests_total\{.*status="(\d+)"\} ([\d.e+]+)$', counted, re.MULTILINE)
    errors = sum(float(count) for status, count in answers if status == "500")
    requests = sum(float(count) for _, count in answers)
    holds = asked.returncode == 0 and errors == 0 and requests > FEWEST
    found = "" if asked.returncode == 0 else f"; schemathesis ended with {asked.returncode}"
    what = f"schemathesis over the OpenAPI of {server}"
    return Claim(what, "0 server errors", f"{errors:.0f} in {requests:,.0f} requests{found}", holds)


@contextmanager
def _server(*arguments: str) -> Iterator[str]:
    command: Sequence[str] = [sys.executable, "-c", UNLIMITED, *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split(": ", 1)[1].split()[0]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
