"""A network in its ONNX file, with the file's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError, needs_package
from earmark.front_end.frames import FrontEnd
from earmark.models.metadata import KEY, Metadata, TfLiteBase
from earmark.models.onnx_cost import check_cost
from earmark.models.onnx_file import Graph, UnfitModelError, read_graph
from earmark.models.runtime import load_runtime

if TYPE_CHECKING:
    import onnxruntime

    from earmark.models.tflite import TfLiteNetwork

BATCH = 128  # windows that go through a network at most at once: memory grows with this, not with the data
SHOWN_LABELS = 10  # that a network's `repr` shows
NORMALIZED = 8  # windows that are normalized at once: what is made on the way stays in the processor's cache


class Network:
    """A network that takes windows. A recognizer needs a network with labels; a base needs only an embedding.

    Args:
        model: the content of an ONNX file with Earmark's metadata in it.
        name: what to call the model in errors.

    Raises:
        EarmarkError: it is not a model, not one of Earmark's, or its parts don't fit together.

    Attributes:
        metadata: labels, window, front end and normalisation.
        content: the ONNX file's content.
    """

    def __init__(self, model: bytes, name: str = "the model") -> None:
        self._name = name
        # Checked and run are the same bytes: nothing is read anew.
        graph = _read_network(model, name)
        if KEY not in graph.entries:
            raise EarmarkError(f"{name} is an ONNX model but not one of Earmark's: its labels are missing.")
        self.metadata = Metadata.from_json(graph.entries[KEY], name)
        if graph.inputs == ["waveform"]:
            model = _own_part(model, self.metadata, name)
            graph = _read_network(model, name)
        self._outputs, self.content = graph.outputs, model
        self._given, shape = self.metadata.graph_input
        if graph.inputs != [self._given]:
            raise EarmarkError(f"{name} doesn't take windows of {self.input_shape}: train it again.")
        declared = graph.declared[self._given].shape
        most = 1 if declared is not None and declared[:1] == (1,) else BATCH  # a base from elsewhere may take one
        try:
            self._batch = check_cost(graph, shape, most)
        except UnfitModelError as error:
            raise _unfit(name, error) from error
        self._base = None if self.metadata.tflite is None else _open_tflite(self.metadata.tflite, name)
        self._session = open_session(model, name)
        self._check(name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled is the file's content: another process opens and checks it anew."""
        return type(self), (self.content, self._name)

    def __repr__(self) -> str:
        seconds = self.front_end.seconds_of(self.metadata.window_frames)
        labels = self.metadata.labels
        told = ", ".join(labels[:SHOWN_LABELS]) + (f", … {len(labels)} in all" if len(labels) > SHOWN_LABELS else "")
        window = f"window {self.metadata.window_frames} frames, {seconds:.2f} s"
        return f"<{type(self).__name__} {self.metadata.name}: {told or 'no labels'}; {window}>"

    @property
    def input_shape(self) -> tuple[int, int]:
        """The frames in a window, and the values in a frame: bins of a spectrogram, or samples of a waveform."""
        return (self.metadata.window_frames, self.front_end.values)

    @property
    def front_end(self) -> FrontEnd:
        """What makes the network's frames."""
        return self.metadata.front_end

    @property
    def has_embedding(self) -> bool:
        """Whether the network can be a base for transfer learning."""
        return "embedding" in self._outputs

    def embed_windows(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Embeddings of windows, shape [windows, values].

        Args:
            windows: shape [windows, *input_shape]; windows of a spectrogram are in dB.

        Raises:
            EarmarkError: the model has no embedding.
        """
        return self._run(["embedding"], windows)[0]

    def check_embedding(self) -> None:
        """Refuse a network without an embedding.

        Raises:
            EarmarkError: the network has no embedding.
        """
        if not self.has_embedding:
            raise EarmarkError(f"The model {self.metadata.name} has no embedding: choose one that is made for words.")

    def _run(self, outputs: list[str], windows: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        if "embedding" in outputs:
            self.check_embedding()
        parts = [
            self._session.run(outputs, {self._given: self._prepared(windows[start : start + self._batch])})
            for start in range(0, max(1, len(windows)), self._batch)
        ]
        return parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _prepared(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        normalized = self._normalized(windows)
        return normalized if self._base is None else self._base.embed(normalized)

    def _normalized(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        normalization = self.metadata.normalization
        if len(windows) <= NORMALIZED:
            return normalization(windows)
        normalized = np.empty(windows.shape, np.float32)
        for start in range(0, len(windows), NORMALIZED):
            part = slice(start, start + NORMALIZED)
            normalized[part] = normalization(windows[part])
        return normalized

    def _check(self, name: str) -> None:
        """Try the network on silence: its outputs must be finite and have the right shapes."""
        silence = np.full((1, *self.input_shape), self.front_end.silence, np.float32)
        known = [output for output in self._outputs if output in ("scores", "embedding")]
        if not known or ("scores" in known) != bool(self.metadata.labels):
            raise EarmarkError(f"{name} doesn't give one score for each of its labels: train it again.")
        try:
            values = dict(zip(known, self._run(known, silence), strict=True))
        except Exception as error:
            raise EarmarkError(f"{name} doesn't take windows of {self.input_shape}: train it again.") from error
        if not all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in values.values()):
            raise EarmarkError(f"{name} gives something else than float32: train it again.")
        if "scores" in values and values["scores"].shape != (1, len(self.metadata.labels)):
            raise EarmarkError(f"{name} doesn't give one score for each of its labels: train it again.")
        if any(value.ndim != 2 or len(value) != 1 or not np.isfinite(value).all() for value in values.values()):
            raise EarmarkError(f"{name} doesn't give numbers for every window: train it again.")


def _read_network(model: bytes, name: str) -> Graph:
    try:
        return read_graph(model)
    except UnfitModelError as error:
        raise _unfit(name, error) from error


def _unfit(name: str, error: UnfitModelError) -> EarmarkError:
    return EarmarkError(f"{name} {error}: use a model that Earmark has trained or exported.")


def _open_tflite(base: TfLiteBase, name: str) -> TfLiteNetwork:
    """The network that a model needs besides its own file, from among the user's bases."""
    from earmark.models.declaration import declaration_of
    from earmark.models.tflite import open_tflite, signature
    from earmark.models.user_bases import find_by_sum

    found = find_by_sum(base.sha256)
    if found is None:
        raise EarmarkError(
            f"{name} needs the base {base.name}, a TensorFlow Lite network that isn't among your bases: add its file "
            f"with `earmark base add {base.name} FILE` (SHA-256 {base.sha256[:12]}…)."
        )
    file, content = found
    # It runs as the user has declared it, whatever the model says.
    declaration = declaration_of(file, *signature(content, str(file)))
    network = open_tflite(content, str(file), declaration)
    if (network.values, declaration) != (base.values, base.declaration):
        raise EarmarkError(
            f"{name} doesn't fit the base {base.name} as it is declared in {file.parent}: train it again."
        )
    return network


def _own_part(model: bytes, metadata: Metadata, name: str) -> bytes:
    """The network of a model that was exported with its front end inside."""
    try:
        from earmark.models.waveform import without_front_end
    except ModuleNotFoundError as error:
        raise needs_package(f"{name} takes the waveform itself; loading it", error, "convert") from error
    try:
        return without_front_end(model, metadata)
    except Exception as error:  # protobuf has no one error for what it can't read or write
        raise EarmarkError(f"{name} has a front end that Earmark didn't write: export it again.") from error


def open_session(model: bytes, name: str) -> onnxruntime.InferenceSession:
    """Open an ONNX model, to run on one thread. `Network` checks it first, since ONNX Runtime trusts what it is given.

    Raises:
        EarmarkError: it is not a model; the message calls it `name`.
    """
    onnxruntime = load_runtime()
    options = onnxruntime.SessionOptions()
    # One small network at a time: more threads, and waiting for them by spinning, cost more than they give.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        # Its fallback to other providers would try again, and print to standard output.
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime has an exception class for each status, with no common base of its own
        raise EarmarkError(f"{name} is not an ONNX model that can be run: train or export it again.") from error
