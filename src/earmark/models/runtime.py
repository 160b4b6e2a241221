"""ONNX Runtime, which runs every network, loaded with its telemetry off."""

import os
from types import ModuleType

_TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"  # https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md


def load_runtime() -> ModuleType:
    """The package `onnxruntime`, with its telemetry off. Call this before importing it, or a package that imports it.

    Since 1.29 its wheels report what runs on this machine, and keep a number for the machine in the user's home. They
    read the environment variable once, during import; its functions that switch telemetry off come too late. A value
    that the user has set stays.
    """
    os.environ.setdefault(_TELEMETRY_OFF, "1")
    import onnxruntime

    module: ModuleType = onnxruntime
    return module
