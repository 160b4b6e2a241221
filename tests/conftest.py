"""What the tests share: real recordings where they lie beside the repository, a real project, a trained recognizer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import earmark
from tests import sounds
from tests.budget import WHOLE

# No test asserts a wall-clock time, nor does hypothesis: machines are shared. `make test` takes the quick profile.
settings.register_profile("whole", deadline=None, max_examples=WHOLE)
settings.register_profile("quick", deadline=None, max_examples=WHOLE // 5)
settings.load_profile("whole")

# Some tests import onnxruntime themselves. Those of `test_privacy.py` run in an environment without this.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SHARED = Path(__file__).parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked `thinned(n)`, all cases but the first n are slow."""
    seen: Counter[tuple[Path, str]] = Counter()
    for item in items:
        if isinstance(item, pytest.Function) and (thinned := item.get_closest_marker("thinned")):
            seen[item.path, item.originalname] += 1
            if seen[item.path, item.originalname] > thinned.args[0]:
                item.add_marker("slow")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, which lies beside the repository on the project's own machines."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("needs the recordings in ../shared/data")
    return folder


@pytest.fixture
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders for the user's data and cache; gives the one for the user's bases, which isn't there yet."""
    data = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    return data / "earmark" / "bases"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: what is compared with it is small, and threads wait for one another on busy cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> earmark.Project:
    """A project of a whistle, snaps and murmur, three seconds each, trained. Don't change it."""
    project = earmark.Project(tmp_path_factory.mktemp("trained") / "clapper", create=True)
    project.add("Left", sounds.whistle(3.5, 1), sounds.RATE)
    project.add("Right", sounds.snaps(3.5, 2), sounds.RATE)
    project.add("Noise", sounds.murmur(3.5, 3), sounds.RATE)
    project.train()
    return project
