"""Fuzzed: what lies in a project beside its recordings, and names; see `fuzz_targets`."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from reliability.fuzz_told import Try, told


def settings(scratch: Path) -> Try:
    """earmark.toml, read, and written again as it was read; and a project that has it."""
    from earmark.clips.settings import read_settings, write_settings
    from earmark.project import Project

    file = scratch / "earmark.toml"

    def attempt(data: bytes) -> None:
        file.write_bytes(data)
        with told():
            read = read_settings(file)
            write_settings(file, read)
            assert read_settings(file) == read
            project = Project(scratch)
            assert len(project.labels) == len(project.label_settings())
            assert (project.base, project.key_frames(), project.fingerprint()) is not None

    return attempt


def cards(scratch: Path) -> Try:
    """What lies beside a model, and in it: its card, its evaluation, its metadata. The case is each of them."""
    import hashlib

    from earmark.models.metadata import Metadata
    from earmark.models.saved_model import CARD_FILE, MODEL_FILE, read_card
    from earmark.project import Project
    from earmark.studio.evaluating import EVALUATION_FILE, read_evaluation

    project = Project(scratch / "project", create=True)
    report = project.report_file()
    folder = report.parent
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(b"model")
    own = hashlib.sha256(b"model").hexdigest().encode()

    def attempt(data: bytes) -> None:
        (folder / CARD_FILE).write_bytes(data.replace(b"MODEL_SHA256", own))
        card = read_card(folder)
        assert card is None or card["model_sha256"] == own.decode()
        project.model_card(folder.name)
        (folder / EVALUATION_FILE).write_bytes(data)
        kept = read_evaluation(project, "now")
        assert kept is None or json.dumps(kept)
        with suppress(UnicodeDecodeError), told():
            metadata = Metadata.from_json(data.decode(), "the model")
            assert Metadata.from_json(metadata.to_json(), "the model") == metadata

    return attempt


def journal(scratch: Path) -> Try:
    """A scan's journal, gone on with, and read."""
    from earmark.scan.detections import Scanned
    from earmark.scan.journal import SUFFIX, Journal

    output = scratch / "found.csv"
    file = scratch / f"found.csv{SUFFIX}"

    def attempt(data: bytes) -> None:
        file.write_bytes(data)
        with told(), Journal(output, {"model": "x"}) as kept:
            before = kept.done
            kept.add(Scanned("new.wav", 1.0, []))
            read = list(kept.scanned([*before, "new.wav"]))
            assert [one.name for one in read] == list(dict.fromkeys([*before, "new.wav"]))
            for one in read:
                assert one.seconds >= 0
                assert all(found.start <= found.end for found in one.detections)

    return attempt


def names(_: Path) -> Try:
    """Names of labels, folders and files, which others chose: what is kept of them stays within its folder."""
    from earmark.labels import check_label, file_stem, folder_label, label_folder, read_thresholds, tidy_label

    def attempt(data: bytes) -> None:
        text = data.decode(errors="surrogateescape")
        with told():
            label = check_label(text)
            assert check_label(label) == label == folder_label(label_folder(label))
            _check_file_name(label_folder(label))
        tidy = tidy_label(text)
        assert check_label(tidy) == tidy
        _check_file_name(file_stem(text) + ".flac")
        with told():
            read_thresholds([text], "--threshold")

    return attempt


def _check_file_name(name: str) -> None:
    """Raises AssertionError where a name isn't one of a plain file everywhere."""
    assert name == Path(name).name
    assert name.strip(" .") == name
    assert not set(name) & set('<>:"/\\|?*\0')
    assert len(name.encode()) <= 255


def cache(scratch: Path) -> Try:
    """The cache of embeddings: whatever is in the file, it works then."""
    import numpy as np

    from earmark.training.embedding_cache import EmbeddingCache

    file = scratch / "cache" / "embeddings.sqlite"
    file.parent.mkdir()

    def attempt(data: bytes) -> None:
        file.write_bytes(data)
        kept = EmbeddingCache(file)
        found = kept.get(["a", "b"])
        assert all(value.ndim == 2 for value in found.values())
        kept.put({"c": np.ones((2, 3), np.float32)}, used=["a"])
        kept.put({"c": np.ones((2, 3), np.float32)})
        assert np.array_equal(kept.get(["c"])["c"], np.ones((2, 3), np.float32))
        for one in file.parent.iterdir():
            one.unlink()

    return attempt
