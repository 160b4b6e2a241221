"""A scan on a Ray cluster, by Ray Data.

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
BLOCKS = 10_000  # at most so many parts, each done by one process and told of when it is done


class _Actor:
    """A process of the cluster that hears one recording at a time."""

    def __init__(self, task: Task) -> None:
        # Ray would give a recording that makes its process crash to another one, again and again.
        self._scanner = ProcessScanner(task)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": self._scanner.scan(row["name"])}


def scan_on_ray(task: Task, names: Sequence[str], address: str, workers: int | None) -> Iterator[Outcome]:
    """Hear recordings on a cluster; the outcomes come as they are done.

    Args:
        task: what its processes do.
        names: the recordings.
        address: of the cluster, "auto" for the one at hand, or "local" for one on this machine.
        workers: processes, each on a core; where None, one for each core that the cluster has.

    Raises:
        EarmarkError: Ray isn't installed, the cluster can't be reached, or the scan fails there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it tells its makers how it is used
    own: dict[str, Any] = {}
    if address == LOCAL:
        # Keeps a cluster of one machine to the loopback address, as Ray itself does on Windows and macOS.
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
    except Exception as error:  # Ray has no common base class for what can go wrong here
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
