"""Faults: kills, disks that fail, connections that break, two studios on one project. Nothing that was made is lost."""

from __future__ import annotations

from benchmarks.table import Claim
from reliability import faults_disk, faults_kills, faults_sockets, faults_studios


def run(long: bool) -> list[Claim]:
    """All of them: in the long form some hundreds of kills and some thousands of failures."""
    return [check for part in (faults_kills, faults_disk, faults_sockets, faults_studios) for check in part.run(long)]
