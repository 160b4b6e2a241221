"""Earmark's networks as TensorFlow.js layers models, which speech-commands and Teachable Machine load."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

from onnx import load_model_from_string, numpy_helper

from earmark.errors import EarmarkError
from earmark.front_end.frames import SPECTROGRAM
from earmark.models.metadata import FlooredNormalization, Metadata, WindowNormalization
from earmark.models.onnx_writer import leading_to
from earmark.tfjs.layer_list import Json, LayerList, OnnxNode
from earmark.tfjs.operations import OPERATIONS, raise_to_floor


def write_tfjs(model: bytes, metadata: Metadata, weights_name: str) -> tuple[Json, bytes]:
    """Convert a model's network to layers.

    Args:
        model: an ONNX file's content.
        metadata: the model's metadata.
        weights_name: the name of the file that will hold the weights.

    Returns:
        The content of model.json, and the weights.

    Raises:
        EarmarkError: the model takes the waveform, or does something that no layer does.
    """
    if metadata.front_end is not SPECTROGRAM:
        raise EarmarkError(
            f"The model {metadata.name} takes the waveform, which speech-commands can't give it: train on the base "
            "words (earmark train PROJECT --base words), or export it to onnx."
        )
    layers = LayerList(metadata)
    if isinstance(metadata.normalization, FlooredNormalization):
        layers.values["window"] = raise_to_floor(layers, metadata.normalization.floor)
    loaded = load_model_from_string(model)
    layers.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in loaded.graph.initializer}
    nodes = leading_to("scores", loaded)
    uses = Counter(name for node in nodes for name in node.input)
    for node in nodes:
        if node.op_type not in OPERATIONS:
            raise layers.refuse(node)
        made = OPERATIONS[node.op_type](layers, OnnxNode(node))
        layers.values[node.output[0]] = made
        again = [name for name in node.input if name in layers.values and layers.values[name].layer == made.layer]
        if uses[node.output[0]] == 1 and layers.used_once.issuperset(again):
            layers.used_once.add(node.output[0])
    return layers.topology("scores", weights_name), b"".join(array.tobytes() for _, array in layers.weights)


def metadata_file(metadata: Metadata, model_name: str, time: str) -> bytes:
    """metadata.json as speech-commands reads it, with Earmark's own metadata added."""
    if isinstance(metadata.normalization, FlooredNormalization):  # a part of the layers now
        metadata = replace(metadata, normalization=WindowNormalization())
    values = {
        "tfjsSpeechCommandsVersion": "0.4.0",
        "modelName": model_name,
        "timeStamp": time,
        "wordLabels": list(metadata.labels),
        "frameSize": metadata.front_end.values,
        "earmark": json.loads(metadata.to_json()),
    }
    return json.dumps(values, ensure_ascii=False).encode()
