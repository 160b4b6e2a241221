"""Scanning on a Ray cluster, with Ray Data.

Each node needs Earmark, and must reach the recordings by the same names: on a shared disk, or in an object store.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from earmark.errors import EarmarkError, as_reason, needs_package
from earmark.scan.journal import Outcome
from earmark.scan.processes import ProcessScanner
from earmark.scan.scanner import Task

LOCAL = "local"  # the address of a new cluster on this machine
BLOCKS = 10_000  # the most parts; each is done by one process and reported when it is done


class _Actor:
    """A process of the cluster that scans one recording at a time."""

    def __init__(self, task: Task) -> None:
        # Ray would give a recording that makes its process crash to another process, again and again.
        self._scanner = ProcessScanner(task)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": self._scanner.scan(row["name"])}


def scan_on_ray(task: Task, names: Sequence[str], address: str, workers: int | None) -> Iterator[Outcome]:
    """Scan recordings on a cluster; outcomes come as recordings are done.

    Args:
        task: what the cluster's processes do.
        names: the recordings.
        address: the cluster's address, "auto" for the current cluster, or "local" for a new one on this machine.
        workers: the number of processes, each on one core; None means one for each core of the cluster.

    Raises:
        EarmarkError: Ray isn't installed, the cluster can't be reached, or the scan fails there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise it reports its usage to its makers
    own: dict[str, Any] = {}
    if address == LOCAL:
        # Keeps a one-machine cluster on the loopback address, as Ray itself does on Windows and macOS.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        own["include_dashboard"] = False
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise needs_package("A scan on a Ray cluster", error, "ray") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    began = not ray.is_initialized()
    try:
        if began:
            ray.init(address, **own, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # Ray has no common base class for the errors that can occur here
        told = f"The Ray cluster {address!r} can't be reached ({as_reason(error)}): check its address."
        raise EarmarkError(told) from error
    try:
        if names:
            cores: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            yield from _outcomes(task, names, workers or int(cores.get("CPU", 1)))
    except ray.exceptions.RayError as error:
        raise EarmarkError(
            f"The Ray cluster ended the scan ({as_reason(error)}): see its logs, then scan again."
        ) from error
    finally:
        if began:
            ray.shutdown()


def _outcomes(task: Task, names: Sequence[str], workers: int) -> Iterator[Outcome]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    recordings = ray.data.from_items([{"name": name} for name in names], override_num_blocks=min(len(names), BLOCKS))
    heard = recordings.map(
        _Actor,  # type: ignore[arg-type]  # a class too, as its documentation says
        fn_constructor_args=(task,),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(names))),
    )
    for row in heard.iter_rows():
        yield row["outcome"]
