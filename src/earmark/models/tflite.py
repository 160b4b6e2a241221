"""TensorFlow Lite networks as bases, run by LiteRT (PyPI `ai-edge-litert`).

Their operators have no guard as ONNX's have, so only files that the user has added run: a model that was trained on one
names it by its sum and never contains it.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError, as_reason, needs_package
from earmark.models.declaration import BEFORE_LAST, FLOAT, Declaration, fixed_shape
from earmark.models.onnx_file import Declared

MAGIC = b"TFL3"  # bytes 4 to 7 of such a file: the identifier of its FlatBuffers schema
MOST_BYTES = 1 << 30

Array = npt.NDArray[np.float32]


def is_tflite(content: bytes) -> bool:
    """Whether it is the content of a TensorFlow Lite file."""
    return content[4:8] == MAGIC


def signature(content: bytes, name: str) -> tuple[dict[str, Declared], dict[str, Declared]]:
    """The inputs and outputs of the network in that file, which errors call `name`.

    Raises:
        EarmarkError: the package is missing, or the file is damaged.
    """
    interpreter = _interpreter(content, name)
    return _declared(interpreter.get_input_details()), _declared(interpreter.get_output_details())


@lru_cache(maxsize=4)
def open_tflite(content: bytes, name: str, declaration: Declaration) -> TfLiteNetwork:
    """The network in that file, opened once for each declaration."""
    return TfLiteNetwork(content, name, declaration)


class TfLiteNetwork:
    """A network that gives an embedding for each window.

    Args:
        content: its file's content.
        name: what to call the file in errors.
        declaration: what it hears.

    Raises:
        EarmarkError: the package is missing; the file is damaged, has no such output or takes something else.

    Attributes:
        values: the size of the embedding, after pooling.
    """

    def __init__(self, content: bytes, name: str, declaration: Declaration) -> None:
        self._name, self._declaration = name, declaration
        self._interpreter = _interpreter(content, name)
        self._lock = Lock()  # an interpreter holds one window's values
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1 or inputs[0]["dtype"] is not np.float32:
            raise EarmarkError(f"{name} takes something else than sound as float32: choose another network.")
        self._input = inputs[0]["index"]
        self._output = self._find_output()
        self._shape = self._allocate(inputs[0])
        frames, values = declaration.window_frames, declaration.front_end.values
        self.values = self.embed(np.zeros((1, frames, values), np.float32)).shape[1]

    def embed(self, windows: Array) -> Array:
        """Embeddings of windows [n, frames, samples], shape [n, values]."""
        if not len(windows):
            return np.zeros((0, self.values), np.float32)
        with self._lock:
            return np.concatenate([self._embed(window) for window in windows])

    def _embed(self, window: Array) -> Array:
        declaration = self._declaration
        samples = window.reshape(1, -1)[:, : declaration.window_samples] * np.float32(declaration.scale)
        if declaration.log_mel is not None:
            samples = declaration.log_mel.compute(samples, declaration.sample_rate)
            if samples.shape[1:] != tuple(size for size in self._shape if size > 1):
                samples = samples.transpose(0, 2, 1)
        try:
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(samples.reshape(self._shape)))
            self._interpreter.invoke()
            made = np.array(self._interpreter.get_tensor(self._output), np.float32)
        except (ValueError, RuntimeError) as error:
            raise EarmarkError(
                f"{self._name} can't be run ({as_reason(error)}): declare the window that it takes."
            ) from error
        over_time = made.reshape(-1, made.shape[-1]) if made.ndim else made.reshape(1, 1)
        if len(over_time) == 1:
            return over_time
        pools = {"mean": over_time.mean(axis=0, keepdims=True), "max": over_time.max(axis=0, keepdims=True)}
        return np.concatenate([pools[kind] for kind in declaration.pooling.split("-")], axis=1)

    def _find_output(self) -> int:
        wanted, outputs = self._declaration.output, self._interpreter.get_output_details()
        if wanted is None and len(outputs) == 1:
            return int(outputs[0]["index"])
        if wanted == BEFORE_LAST:
            found = _before_last(self._interpreter)
            if found is not None:
                return found
        for tensor in (*outputs, *self._interpreter.get_tensor_details()):
            if tensor["name"] == wanted:
                return int(tensor["index"])
        names = ", ".join(output["name"] for output in outputs)[:200]
        raise EarmarkError(f"{self._name} needs `output` to be declared: choose {names}.")

    def _allocate(self, given: dict[str, Any]) -> tuple[int, ...]:
        shape = fixed_shape(_as_declared(given), self._name, self._declaration)
        try:
            if tuple(given["shape"]) != shape:
                self._interpreter.resize_tensor_input(self._input, shape)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise EarmarkError(
                f"{self._name} doesn't take {shape} ({as_reason(error)}): declare the window that it takes."
            ) from error
        return shape


def _before_last(interpreter: Any) -> int | None:
    """What the last dense layer takes."""
    dense = [step for step in interpreter._get_ops_details() if step["op_name"] == "FULLY_CONNECTED"]
    return int(dense[-1]["inputs"][0]) if dense else None


def _interpreter(content: bytes, name: str) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise needs_package(f"{name} is a TensorFlow Lite network, which", error, "tflite") from error
    try:
        # All values are kept, since the embedding is often one within.
        return Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    except (ValueError, RuntimeError) as error:
        raise EarmarkError(f"{name} is not a TensorFlow Lite network that can be run: get it again.") from error


def _declared(tensors: list[dict[str, Any]]) -> dict[str, Declared]:
    return {tensor["name"]: _as_declared(tensor) for tensor in tensors}


def _as_declared(tensor: dict[str, Any]) -> Declared:
    sizes = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]
    # Converters write 1 for a size that the network itself frames anew.
    shape = tuple(None if size < 0 else int(size) for size in sizes)
    return Declared(FLOAT if tensor["dtype"] is np.float32 else 0, shape)
