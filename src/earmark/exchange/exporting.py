"""Export: models and recordings in the formats of other programs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import EarmarkError, needs_package
from earmark.labels import THRESHOLD
from earmark.models.metadata import KEY, FixedNormalization, Metadata, WindowNormalization
from earmark.recognizer.recognizer import Recognizer
from earmark.storage.files import check_free, make_folder, new_folder, write_atomically

if TYPE_CHECKING:
    from earmark.clips.labelled import LabelledClips
    from earmark.exchange.written_recordings import Written
    from earmark.progress import Report

TFJS, TEACHABLE_MACHINE, ONNX = MODEL_FORMATS = ("tfjs", "teachable-machine", "onnx")
WINDOW, WAVEFORM = ONNX_INPUTS = ("window", "waveform")
RECORDING_FORMATS = ("folders", "speech-commands", "audiofolder", "examples")


def export_model(
    recognizer: Recognizer,
    target: str | Path,
    to: str,
    *,
    onnx_input: str = WAVEFORM,
    probability_threshold: float | None = None,
) -> list[str]:
    """Write a recognizer in another format, wholly or not at all.

    Args:
        recognizer: the recognizer to write.
        target: for "onnx" the file; for the other formats a folder, or a zip if the name ends in .zip.
        to: "tfjs", for the npm package speech-commands; "teachable-machine", the same with Teachable Machine's file
            names; or "onnx".
        onnx_input: the ONNX model's input: the "waveform" of a window, or the normalized "window" itself.
        probability_threshold: the threshold that the exported model recommends; by default its own, or 0.75.

    Returns:
        Sentences that the user should read about the result.

    Raises:
        EarmarkError: there is no such format, the model can't be written in it, a package is missing, or the target
            exists already or can't be written.
    """
    target = Path(target)
    metadata = _with_threshold(recognizer.metadata, probability_threshold)
    if to not in MODEL_FORMATS:
        raise EarmarkError(f"There is no model format {to!r}: choose {', '.join(MODEL_FORMATS)}.")
    check_free(target)
    if metadata.tflite is not None:
        raise EarmarkError(
            f"{metadata.name} is trained on {metadata.tflite.name}, a TensorFlow Lite network, which a file of another "
            "kind can't hold: train on an ONNX base to export it."
        )
    try:
        if to == ONNX:
            _write_file(target, onnx_file(recognizer.content, metadata, onnx_input))
            return []
        _write_files(target, tfjs_files(recognizer.content, metadata, to))
    except ModuleNotFoundError as error:
        raise needs_package("Exporting a model", error, "convert") from error
    return _browser_notes(metadata)


def export_recordings(project: LabelledClips, target: str | Path, to: str, *, report: Report | None = None) -> Written:
    """Write a project's recordings in another layout, wholly or not at all.

    Args:
        project: the project whose recordings to write.
        target: a folder; for "folders" a zip if the name ends in .zip, and for "examples" a file.
        to: "folders", label folders; "speech-commands", that data set's layout; "audiofolder", Hugging Face's layout;
            or "examples", which the npm package speech-commands reads with `loadExamples`.
        report: called with the progress, as (what, done, of how many).

    Returns:
        How many recordings were written, which were left out and why, and notes for the user.

    Raises:
        EarmarkError: there is no such format, or the target exists already or can't be written.
    """
    from earmark.exchange import audiofolder, example_sets, label_folders, speech_commands

    writers: dict[str, Callable[[LabelledClips, Path, Report | None], Written]] = {
        "folders": label_folders.write_label_folders,
        "speech-commands": speech_commands.write_speech_commands,
        "audiofolder": audiofolder.write_audiofolder,
        "examples": example_sets.write_example_set,
    }
    if to not in writers:
        raise EarmarkError(f"There is no format {to!r} of recordings: choose {', '.join(RECORDING_FORMATS)}.")
    if not project.clips():
        raise EarmarkError(f"{project.path} has no recordings to write: record some first.")
    return writers[to](project, Path(target), report)


def onnx_file(model: bytes, metadata: Metadata, onnx_input: str = WAVEFORM) -> bytes:
    """An ONNX file whose metadata says how to use it, also in plain entries.

    Raises:
        EarmarkError: there is no such input.
        ModuleNotFoundError: the package onnx is missing.
    """
    from onnx import helper, load_model_from_string

    from earmark.models.waveform import waveform_samples, with_front_end

    if onnx_input not in ONNX_INPUTS:
        raise EarmarkError(f"An ONNX model takes no {onnx_input!r}: choose {' or '.join(ONNX_INPUTS)}.")
    frames, values = metadata.window_frames, metadata.front_end.values
    if onnx_input == WAVEFORM:
        model = with_front_end(model, metadata)
        given = f"waveform: float32 [n, {waveform_samples(metadata)}], in [-1, 1]"
    else:
        given = f"window: float32 [n, {frames}, {values}], normalized"
    loaded = load_model_from_string(model)
    entries = {
        KEY: metadata.to_json(),
        "name": metadata.name,
        "input": given,
        "labels": json.dumps(metadata.labels, ensure_ascii=False),
        "sample_rate": str(metadata.front_end.sample_rate),
        "window_seconds": str(round(metadata.front_end.seconds_of(frames), 6)),
        "front_end": json.dumps({"name": metadata.front_end.name, **metadata.front_end.as_dict()}),
        "normalization": json.dumps(asdict(metadata.normalization)),
        "probability_threshold": str(metadata.probability_threshold),
    }
    helper.set_model_props(loaded, entries)
    return loaded.SerializeToString()  # type: ignore[no-any-return]


def tfjs_files(model: bytes, metadata: Metadata, to: str = TFJS) -> dict[str, bytes]:
    """The files of a TensorFlow.js layers model, by name.

    Raises:
        EarmarkError: the model takes the waveform, or does something that no layer does; or Teachable Machine's pages
            can't give it the input that it needs.
        ModuleNotFoundError: the package onnx is missing.
    """
    from earmark.tfjs.writer import metadata_file, write_tfjs

    if to == TEACHABLE_MACHINE and isinstance(metadata.normalization, FixedNormalization):
        raise EarmarkError(
            f"The model {metadata.name} needs a sound's level, which Teachable Machine's code takes out: export it to "
            "tfjs, or train on words."
        )
    weights_name = "weights.bin" if to == TEACHABLE_MACHINE else "group1-shard1of1.bin"
    layers, weights = write_tfjs(model, metadata, weights_name)
    model_name = "TMv2" if to == TEACHABLE_MACHINE else metadata.name
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "model.json": json.dumps(layers).encode(),
        "metadata.json": metadata_file(metadata, model_name, time),
        weights_name: weights,
    }


def _with_threshold(metadata: Metadata, threshold: float | None) -> Metadata:
    if threshold is None:
        threshold = THRESHOLD if metadata.probability_threshold is None else metadata.probability_threshold
    if not 0 <= threshold <= 1:
        raise EarmarkError(f"probability_threshold is {threshold}: it must be between 0 and 1.")
    return replace(metadata, probability_threshold=threshold)


def _write_file(target: Path, content: bytes) -> None:
    make_folder(target.parent)
    write_atomically(target, content)


def _write_files(target: Path, files: dict[str, bytes]) -> None:
    if target.suffix.lower() == ".zip":
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        _write_file(target, packed.getvalue())
        return
    with new_folder(target) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)


def _browser_notes(metadata: Metadata) -> list[str]:
    """Notes on how scores in a browser differ from Earmark's, if they do."""
    normalization = metadata.normalization
    if isinstance(normalization, FixedNormalization):
        return [
            f"In a browser, give it (levels in dB - {normalization.mean:g}) / {normalization.deviation:g} by "
            "model.predict: speech-commands' own listen() normalizes each window otherwise."
        ]
    if isinstance(normalization, WindowNormalization) and normalization.dynamic_range is not None:
        return [
            f"Earmark raises levels to {normalization.dynamic_range:g} dB below a window's highest; speech-commands "
            "doesn't, so scores differ a little there."
        ]
    return []
