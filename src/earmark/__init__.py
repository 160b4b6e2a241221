"""Earmark teaches a computer to hear: record a few seconds of a sound, train in a second, and it listens and acts.

```python
project = earmark.Project("clapper", create=True)
project.add("Left", "snap.wav")
recognizer = project.train(on_epoch=print)
for detection in recognizer.listen(earmark.open_source("long.wav")):
    print(detection.label, detection.start, detection.end)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING

from earmark.version import __version__

if TYPE_CHECKING:
    from earmark.audio.clip import Clip, read_clip
    from earmark.audio.sources import Source, open_source
    from earmark.errors import EarmarkError
    from earmark.exchange.exporting import export_model
    from earmark.exchange.importing import import_into
    from earmark.front_end.spectrogram import StreamingSpectrogram, compute_spectrogram
    from earmark.project import Project, TransferRecognizer
    from earmark.recognizer.decisions import Detection
    from earmark.recognizer.listening import Listening
    from earmark.recognizer.recognizer import Recognizer, load
    from earmark.recognizer.scoring import Result
    from earmark.scan.scan import ScanReport, scan_files

_HOMES = {
    "Clip": "audio.clip",
    "Detection": "recognizer.decisions",
    "EarmarkError": "errors",
    "Listening": "recognizer.listening",
    "Project": "project",
    "Recognizer": "recognizer.recognizer",
    "Result": "recognizer.recognizer",
    "ScanReport": "scan.scan",
    "Source": "audio.sources",
    "StreamingSpectrogram": "front_end.spectrogram",
    "TransferRecognizer": "project",
    "compute_spectrogram": "front_end.spectrogram",
    "export_model": "exchange.exporting",
    "import_into": "exchange.importing",
    "load": "recognizer.recognizer",
    "open_source": "audio.sources",
    "read_clip": "audio.clip",
    "scan_files": "scan.scan",
}

__all__ = [
    "Clip",
    "Detection",
    "EarmarkError",
    "Listening",
    "Project",
    "Recognizer",
    "Result",
    "ScanReport",
    "Source",
    "StreamingSpectrogram",
    "TransferRecognizer",
    "__version__",
    "compute_spectrogram",
    "export_model",
    "import_into",
    "load",
    "open_source",
    "read_clip",
    "scan_files",
]


def __getattr__(name: str) -> object:
    # Loaded at first use, so that `import earmark` loads no numpy, no sound library and no network runtime.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
