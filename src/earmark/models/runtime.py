"""ONNX Runtime, which runs every network, loaded so that it tells nobody of it."""

import os
from types import ModuleType

_TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"  # https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md


def load_runtime() -> ModuleType:
    """The package `onnxruntime`, its telemetry off. Whatever imports it, or a package that does, calls this first.

    Since 1.29 its wheels send what runs on this machine, and keep a number for the machine in the user's home. They
    look at the variable once, while they are imported: its functions that switch telemetry off come too late for that.
    A value that the user has set stays.
    """
    os.environ.setdefault(_TELEMETRY_OFF, "1")
    import onnxruntime

    module: ModuleType = onnxruntime
    return module
