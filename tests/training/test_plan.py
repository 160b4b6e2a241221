"""One way from recordings to a recognizer, whatever it is trained on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earmark import EarmarkError, Project, Recognizer
from earmark.models.network import Network
from earmark.training.embedding_cache import EmbeddingCache
from earmark.training.plan import Training, import_training
from earmark.training.sound_network import Epoch
from earmark.training.transfer import TaughtClip, Trained
from tests import chirps, sounds
from tests.small_base import small_base


@pytest.fixture(scope="module", autouse=True)
def own_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the cache of whoever runs the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user cache")))
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two takes of each of two sounds. Don't change it."""
    project = Project(tmp_path_factory.mktemp("learning") / "project", create=True)
    for take in range(2):
        project.add("Left", sounds.whistle(0.5, take), sounds.RATE)
        project.add("Right", sounds.snaps(0.5, take), sounds.RATE)
    return project


def train(project: Project, base: Any, **options: Any) -> Trained:
    training = Training(base, "mine", options, EmbeddingCache(None))
    return training.run([TaughtClip(clip) for clip in project.clips()], project.labels)


def test_sounds_are_trained_from_scratch(project: Project) -> None:
    trained = train(project, "sounds", epochs=2)
    recognizer = Recognizer(trained.model)
    assert recognizer.labels == trained.labels == ("Left", "Right")
    assert recognizer.metadata.name == "mine"
    assert [(epoch.epoch, epoch.epochs) for epoch in trained.history] == [(1, 2), (2, 2)]
    assert trained.examples == sum(clip.examples for clip in project.clips())


@pytest.mark.parametrize("kind", ["network", "file"])
def test_any_base_with_an_embedding_gets_a_head(project: Project, tmp_path: Path, kind: str) -> None:
    (tmp_path / "small.onnx").write_bytes(small_base())
    base = Network(small_base()) if kind == "network" else tmp_path / "small.onnx"
    trained = train(project, base, epochs=3, validation_split=0.5, open_set=False, hidden_units=4)
    assert Recognizer(trained.model).labels == trained.labels == ("Left", "Right")
    assert len(trained.history) == 3
    assert trained.history[-1].validation_accuracy is not None
    assert trained.examples >= 4


def test_epochs_and_progress_are_told(project: Project) -> None:
    clips = [TaughtClip(clip) for clip in project.clips()]
    for base in ("sounds", Network(small_base())):
        epochs: list[Epoch] = []
        options = {"epochs": 2} if base == "sounds" else {"epochs": 2, "open_set": False}
        training = Training(base, "mine", options, EmbeddingCache(None))
        trained = training.run(clips, project.labels, report=lambda *_: None, on_epoch=epochs.append)
        assert epochs == trained.history


def test_options_reach_both_the_recordings_and_the_head(project: Project) -> None:
    base = Network(small_base())
    models = [
        train(project, base, epochs=3, open_set=False, **options).model
        for options in (
            {}, {"seed": 1, "batch_size": 1}, {"batch_size": 1}, {"optimizer": "adam"}, {"learning_rate": 0.5},
            {"hidden_units": 3}, {"fine_tuning_epochs": 1}, {"augment_by_mixing_noise_ratio": 0.5},
            {"validation_split": 0.5},
        )
    ]  # fmt: skip
    assert len(set(models)) == len(models)


@pytest.mark.parametrize(
    ("base", "options", "option"),
    [
        ("sounds", {"optimizer": "adam"}, "optimizer"),
        ("sounds", {"validation_split": 0.2}, "validation_split"),
        ("sounds", {"open_set": True}, "open_set"),
        ("sounds", {"epoch": 3}, "epoch"),
        ("sounds", {"on_epoch": 3}, "on_epoch"),
        ("small", {"epoch": 3}, "epoch"),
        ("small", {"epochs": 1, "labels": ("a",)}, "labels"),
        ("small", {"cache": None}, "cache"),
    ],
)
def test_an_option_that_a_base_has_not_is_refused(
    project: Project, base: str, options: dict[str, Any], option: str
) -> None:
    with pytest.raises(EarmarkError) as told:
        train(project, Network(small_base()) if base == "small" else base, **options)
    assert str(told.value) == f"The base 'mine' has no {option}: leave it out, or choose another base."


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("sounds", {"epochs": 0}),
        ("sounds", {"learning_rate": -1}),
        ("sounds", {"seed": -1}),
        ("small", {"epochs": 0}),
        ("small", {"seed": -1}),
        ("small", {"validation_split": 1}),
        ("small", {"optimizer": "none"}),
    ],
)
def test_a_value_out_of_its_range_is_refused(project: Project, base: str, options: dict[str, Any]) -> None:
    with pytest.raises(EarmarkError, match=r"^[A-Z(a-z_].*\.$"):
        train(project, Network(small_base()) if base == "small" else base, **options)


def test_a_recording_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", create=True)
    for label in ("a", "b"):
        project.add(label, chirps.word("rise"), chirps.RATE, name=f"take {label}")
    for base in ("sounds", Network(small_base())):
        clips = [TaughtClip(clip) for clip in project.clips()]
        clips[1].file.path.write_bytes(b"fLaC and no more")
        with pytest.raises(EarmarkError, match="take b"):
            Training(base, "mine", {"epochs": 1}, EmbeddingCache(None)).run(clips, project.labels)


@pytest.mark.parametrize("package", ["threadpoolctl", "onnx"])
@pytest.mark.parametrize("base", ["sounds", "words"])
def test_a_package_that_is_missing_is_told(project: Project, package: str, base: str) -> None:
    script = f"""if True:
        import sys
        sys.modules["{package}"] = None
        from earmark import EarmarkError, Project
        try:
            Project(sys.argv[1]).train(base="{base}", epochs=1)
        except EarmarkError as error:
            print(error)
    """
    arguments = [sys.executable, "-c", script, str(project.path)]
    run = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == f"Training needs the package {package}: install it with `pip install 'earmark[train]'`.\n"
    assert not (project.path / "models").exists()


def test_a_module_that_is_there_is_imported() -> None:
    assert import_training("earmark.training.heads").HeadOptions().epochs == 50
