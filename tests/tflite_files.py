"""Small TensorFlow Lite files, written with the schema that comes with LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np


def rows_file(samples: int, values: int, *, kernel: Any = None) -> bytes:
    """`sound` [1, samples] → `made` [samples / values, values]: rows of the sound.

    Args:
        kernel: [labels, values] of a dense layer after it, which gives the only output, `scores`.
    """
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    buffers = [schema.BufferT()]
    tensors: list[Any] = []

    def tensor(name: str, shape: list[int], content: Any = None, kind: int = schema.TensorType.FLOAT32) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, kind, 0
        if content is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(content.tobytes(), np.uint8)
            buffers.append(buffer)
            made.buffer = len(buffers) - 1
        tensors.append(made)
        return len(tensors) - 1

    def operator(number: int, takes: list[int], makes: list[int], kind: int, options: Any) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = number, takes, makes
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    rows = samples // values
    sound = tensor("sound", [1, samples])
    shape = tensor("shape", [2], np.array([rows, values], np.int32), schema.TensorType.INT32)
    made = tensor("made", [rows, values])
    reshape = schema.ReshapeOptionsT()
    reshape.newShape = [rows, values]
    operators = [operator(0, [sound, shape], [made], schema.BuiltinOptions.ReshapeOptions, reshape)]
    kinds = [schema.BuiltinOperator.RESHAPE]
    output = made
    if kernel is not None:
        weights = tensor("kernel", list(np.shape(kernel)), np.asarray(kernel, np.float32))
        output = tensor("scores", [rows, len(kernel)])
        dense = schema.FullyConnectedOptionsT()
        kind = schema.BuiltinOptions.FullyConnectedOptions
        operators.append(operator(1, [made, weights, -1], [output], kind, dense))
        kinds.append(schema.BuiltinOperator.FULLY_CONNECTED)
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [sound], [output], operators
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], buffers
    model.operatorCodes = []
    for number in kinds:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 1
        model.operatorCodes.append(code)
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
