"""The `earmark` command: a thin layer over the package."""

from __future__ import annotations

import io
import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.base import base_app
from earmark.cli.bench import bench
from earmark.cli.devices import devices
from earmark.cli.doctor import doctor
from earmark.cli.exchange import export, import_
from earmark.cli.options import (
    MODEL_HELP,
    Json,
    LabelThreshold,
    LongestSound,
    Margin,
    MinAgreeingWindows,
    Mode,
    Noise,
    OverlapFactor,
    ProbabilityThreshold,
    ProjectPath,
    SmoothingWindows,
    SuppressionTime,
)
from earmark.cli.scan import scan
from earmark.cli.serve import serve
from earmark.cli.studio import studio
from earmark.cli.terminal import complain, put, task_progress, with_progress
from earmark.errors import EarmarkError, as_argument, needs_package
from earmark.version import __version__

if TYPE_CHECKING:
    from earmark.audio.sources import Source
    from earmark.pretraining.pretraining import PretrainingEpoch
    from earmark.training.sound_network import Epoch

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text takes half the time, as Rich needn't be loaded
    help="Teach a computer to hear: record a few seconds of a sound, train in a second, and it listens and acts.",
)


class PcmEncoding(str, Enum):
    """Raw PCM, little-endian."""

    s16le = "s16le"
    f32le = "f32le"


BaseName = Annotated[
    str | None,
    typer.Option(
        help="What to train on: auto, sounds, speech, words, ear, one of your own, or any network with an embedding.",
        show_default="sounds: sounds; words: auto, which chooses by the clips",
    ),
]
ModelPath = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
DeviceOption = Annotated[str | None, typer.Option(help="The microphone: its number or a part of its name.")]
Input = Annotated[
    str, typer.Option(help="A sound file, or - for raw PCM on standard input.", show_default="microphone")
]
SampleRate = Annotated[int, typer.Option(help="Sample rate of raw PCM, in Hz.")]
Channels = Annotated[int, typer.Option(help="Number of channels of raw PCM.")]
PcmFormat = Annotated[PcmEncoding, typer.Option(help="Encoding of raw PCM.")]


def main() -> None:
    """Run the command. An error that the user can fix is printed in one sentence, with exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a label may hold what the terminal can't show
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except EarmarkError as error:
        complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"earmark {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        # Eager, so that the version is printed whatever other options say.
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def record(
    project: ProjectPath,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What the recording holds.")],
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=600, help="How long to record.", show_default="3; of a file or a stream all"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many clips to record, one after the other.")] = 1,
    pause: Annotated[float, typer.Option(min=0, max=60, help="Seconds of rest between two clips.")] = 1.0,
    countdown: Annotated[
        int | None,
        typer.Option(min=0, max=60, help="Seconds to count down first.", show_default="3 before several clips, else 0"),
    ] = None,
    beep: Annotated[
        bool | None,
        typer.Option(help="Beep before each clip, if there is a loudspeaker.", show_default="for several clips"),
    ] = None,
    mode: Mode = None,
    input: Input = "microphone",
    device: DeviceOption = None,
    sample_rate: SampleRate = 44_100,
    channels: Channels = 1,
    encoding: PcmFormat = PcmEncoding.s16le,
    as_json: Json = False,
) -> None:
    """Record clips into a project, which is made if it is not there.

    What is silent, very quiet, clipped, or for short sounds mostly silence, is kept and told.
    """
    from earmark.cli.recording import Rounds, record_rounds

    if count > 1 and input != "microphone":
        raise EarmarkError("Several clips are recorded from the microphone alone: leave out --count, or --input.")
    several = count > 1
    countdown = (3 if several else 0) if countdown is None else countdown
    rounds = Rounds(count, pause, countdown, several if beep is None else beep)
    record_rounds(
        lambda: _open(input, device, sample_rate, channels, encoding), rounds, project, label,
        seconds=seconds, mode=None if mode is None else mode.value, as_json=as_json,
    )  # fmt: skip


@app.command()
def train(
    project: ProjectPath,
    base: BaseName = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.", show_default="the base's")] = None,
    mode: Mode = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the examples.", show_default="10, a head 50")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Examples in a training step.", show_default="16, a head 128")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate of the optimizer.", show_default="its usual one")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="The optimizer: sgd, adam, rmsprop or adagrad.", show_default="sgd; sounds: adam")
    ] = None,
    hidden_units: Annotated[
        int | None, typer.Option(min=0, help="Units of a hidden layer in the head; 0 for none.")
    ] = None,
    validation_split: Annotated[
        float | None, typer.Option(min=0, max=0.99, help="Share of the recordings that is kept aside.")
    ] = None,
    window_hop_ratio: Annotated[
        float | None,
        typer.Option(
            help="Learn several windows around a word, this many window lengths apart.", show_default="one window"
        ),
    ] = None,
    augment_by_mixing_noise_ratio: Annotated[
        float | None, typer.Option(help="Learn each word once more with noise mixed in, this strong, up to 1.")
    ] = None,
    fine_tuning_epochs: Annotated[
        int | None, typer.Option(min=0, help="Further epochs in which the base's last layer learns too.")
    ] = None,
    fine_tuning_optimizer: Annotated[
        str | None, typer.Option(help="The optimizer of these further epochs.", show_default="adam")
    ] = None,
    open_set: Annotated[
        bool | None, typer.Option(help="Learn noise and unknown words too.", show_default="yes; sounds: no")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed and clips give the same model.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a recognizer on a project's clips: short sounds from scratch, words by a head on a pretrained base."""
    from earmark.project import Project

    opened = Project(project)
    if mode is not None:
        opened.set_mode(mode.value)
    options = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "optimizer": optimizer,
        "hidden_units": hidden_units, "validation_split": validation_split, "window_hop_ratio": window_hop_ratio,
        "augment_by_mixing_noise_ratio": augment_by_mixing_noise_ratio, "fine_tuning_epochs": fine_tuning_epochs,
        "fine_tuning_optimizer": fine_tuning_optimizer, "open_set": open_set, "seed": seed,
    }  # fmt: skip
    with task_progress() as progress:

        def show(epoch: Epoch) -> None:
            if as_json or epoch.epoch % max(1, epoch.epochs // 10) == 0:  # about ten lines, however many epochs
                values = {key: value for key, value in asdict(epoch).items() if value is not None}
                put(values, as_json, str(epoch))

        trained = opened.train(base, name=name, report=progress.report, on_epoch=show, **options)
    choice = trained.base_choice
    if choice is not None and choice.why is not None:
        put({"base": choice.base, "why": choice.why}, as_json, f"Base {choice.base}: {choice.why}")
    if trained.hint is not None:
        put({"hint": trained.hint}, as_json, trained.hint)
    folder = opened.model_folder(trained.metadata.name)
    put({"model": str(folder)}, as_json, f"Saved in {folder}. Now: earmark listen {_as_model(project)}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="PROJECT|MODEL", help="A project, or with --test any model.")],
    test: Annotated[Path | None, typer.Option(help="A folder of labelled recordings that training never saw.")] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="Number of parts of a project's recordings; each is left out once.")
    ] = 5,
    background: Annotated[
        list[Path] | None, typer.Option(help="Recordings, or a folder, with nothing to detect. Repeat it for more.")
    ] = None,
    false_alarms_per_hour: Annotated[
        float, typer.Option(min=0, help="How many false alarms the threshold should allow.")
    ] = 1.0,
    base: BaseName = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes.", show_default="report.html beside the project's model")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a recognizer on recordings that it never heard, and write a report.

    A project's recordings are left out in parts, and each part is recognized by a model trained on the others. With
    --test, the trained model recognizes that folder.
    """
    from earmark.cli.evaluate import evaluate_files, show_evaluation
    from earmark.evaluation.advice import as_dict

    with task_progress() as progress:
        evaluation, file = evaluate_files(
            model, test, folds=folds, background=background or (), base=base, report_file=report,
            false_alarms_per_hour=false_alarms_per_hour, report=progress.report,
        )  # fmt: skip
    if as_json:
        put({**as_dict(evaluation, false_alarms_per_hour), "report": str(file)}, True, "")
        return
    show_evaluation(evaluation, false_alarms_per_hour)
    typer.echo(f"Report: {file}")


@app.command()
def listen(
    model: ModelPath = "words",
    input: Input = "microphone",
    probability_threshold: ProbabilityThreshold = None,
    overlap_factor: OverlapFactor = None,
    suppression_time_ms: SuppressionTime = 0,
    label_threshold: LabelThreshold = None,
    smoothing_windows: SmoothingWindows = None,
    min_agreeing_windows: MinAgreeingWindows = None,
    longest_sound_ms: LongestSound = None,
    noise: Noise = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cut each detection as a sound file into DIR/LABEL/.")
    ] = None,
    margin: Margin = 0.5,
    device: DeviceOption = None,
    sample_rate: SampleRate = 44_100,
    channels: Channels = 1,
    encoding: PcmFormat = PcmEncoding.s16le,
    as_json: Json = False,
) -> None:
    """Listen to the microphone, a file or a stream, and print each detection with its time."""
    from earmark.labels import SILENT_LABELS, read_thresholds
    from earmark.recognizer.decisions import as_dict
    from earmark.recognizer.recognizer import load

    recognizer = load(model)
    source = _open(input, device, sample_rate, channels, encoding)
    if source.seconds is None and not as_json:
        labels = [label for label in recognizer.labels if noise or label not in SILENT_LABELS]
        typer.echo(f"Listening to {source.name} for {', '.join(labels)}. Ctrl+C ends it.", err=True)
    heard, cutter = with_progress(source), None
    if keep is not None:
        from earmark.recognizer.cutting import KEPT_SECONDS, Cutter, HeardSource, check_margin, stream_stem

        check_margin(margin)
        cutter = Cutter(keep, stream_stem(source), source.sample_rate, margin, KEPT_SECONDS)
        heard = HeardSource(heard, cutter)
    detections = recognizer.listen(
        heard,
        probability_threshold=probability_threshold,
        overlap_factor=overlap_factor,
        suppression_time_ms=suppression_time_ms,
        label_thresholds=read_thresholds(label_threshold or (), "--label-threshold"),
        smoothing_windows=smoothing_windows,
        min_agreeing_windows=min_agreeing_windows,
        longest_sound_ms=longest_sound_ms,
        invoke_callback_on_noise_and_unknown=noise,
    )
    try:
        for found in detections:
            if cutter is not None:
                cutter.cut(found)
            put(as_dict(found), as_json, f"{found.start:9.2f} – {found.end:8.2f} s  {found.score:6.1%}  {found.label}")
    finally:
        if cutter is not None:
            cutter.finish()


@app.command()
def recognize(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sound files.")],
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)] = "words",
    as_json: Json = False,
) -> None:
    """Recognize sound files, each as one clip."""
    from earmark.recognizer.recognizer import load

    recognizer = load(model)
    failed = False
    for file in files:
        try:
            result = recognizer.recognize(file)
        except EarmarkError as error:
            complain(str(error))
            failed = True
            continue
        scores = dict(zip(result.labels, map(float, result.scores), strict=True))
        values = {"path": str(file), "label": result.label, "score": result.score, "scores": scores}
        put(values, as_json, f"{result.score:6.1%}  {result.label}  {file}")
    if failed:
        raise typer.Exit(1)


app.command()(scan)
app.command("import")(import_)
app.command("export")(export)
app.command()(serve)
app.command()(studio)
app.command()(devices)
app.command()(doctor)
app.command()(bench)
app.add_typer(base_app, name="base")


@app.command()
def pretrain(
    data: Annotated[list[Path], typer.Option(help="A data set: a folder for each word. Repeat it for more.")],
    output: Annotated[Path, typer.Option(help="Where the model, its card and the checkpoint go.")],
    noise: Annotated[list[Path] | None, typer.Option(help="A data set that is all background noise.")] = None,
    labels: Annotated[
        str, typer.Option(help="Words to tell apart, separated by commas; all: every word there is.")
    ] = "zero,one,two,three,four,five,six,seven,eight,nine,up,down,left,right,go,stop,yes,no",
    epochs: Annotated[int, typer.Option(min=1, help="How many epochs to train.")] = 28,
    draws: Annotated[int, typer.Option(min=1, help="Windows in an epoch.")] = 38_400,
    batch_size: Annotated[int, typer.Option(min=2, help="Windows in a training step.")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0, help="The highest learning rate.")] = 0.003,
    strength: Annotated[float, typer.Option(min=0, max=1, help="Strength of the augmentation.")] = 1.0,
    start: Annotated[Path | None, typer.Option(help="A checkpoint.pt of another training to begin with.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="The same seed and data give the same model.")] = 0,
    device: Annotated[str, typer.Option(help="Where to train: cpu or cuda.", show_default="cuda if there is one")] = "",
    teacher: Annotated[bool, typer.Option(help="Learn from Google's speech embedding as well.")] = True,
    revision: Annotated[str, typer.Option(help="Revision of the recipe, for the model's card.")] = "",
    as_json: Json = False,
) -> None:
    """Make a recognizer of words from data sets of many speakers, as the pretrained `words` was made.

    A data set is DIR/<word>/<clip>, DIR/{train,val,test}/<word>/<clip>, or the full Speech Commands data set. Words
    that are no label become _unknown_. Started again, an interrupted training goes on after its last whole epoch.
    """
    try:
        from earmark.pretraining.pretraining import PretrainingOptions
        from earmark.pretraining.run import run
    except ModuleNotFoundError as error:
        raise needs_package("Pretraining", error, "pretrain") from error

    options = PretrainingOptions(epochs, draws, batch_size, learning_rate, strength=strength, seed=seed)
    wanted = None if labels == "all" else tuple(dict.fromkeys(label.strip() for label in labels.split(",")))
    with task_progress() as progress:

        def show(epoch: PretrainingEpoch) -> None:
            put(asdict(epoch), as_json, str(epoch))

        run(
            data, noise or [], wanted, output, options,
            start=start, device=device, teacher=teacher, revision=revision, report=progress.report, on_epoch=show,
        )  # fmt: skip
    put({"model": str(output)}, as_json, f"Saved in {output}. Now: earmark listen {_as_model(output)}")


def _as_model(folder: Path) -> str:
    """The folder as an argument to `listen`, where a bare "words" means the model that comes with Earmark."""
    return "./words" if str(folder) == "words" else as_argument(folder)


def _open(input: str, device: str | None, sample_rate: int, channels: int, encoding: PcmEncoding) -> Source:
    from earmark.audio.sources import open_source

    number = int(device) if device is not None and device.isdecimal() else device
    return open_source(input, sample_rate=sample_rate, channels=channels, encoding=encoding.value, device=number)
