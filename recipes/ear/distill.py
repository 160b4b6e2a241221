"""Teach the student what the teacher hears.

    python recipes/ear/distill.py DATA WORK [--steps N] [--seed N]

DATA holds the unpacked data sets; WORK gets the checkpoint, from which an interrupted training goes on.

The teacher's values within the network are hints (Romero et al. 2015, FitNets, arXiv:1412.6550): each stage of the
student has to give what the teacher gives at that place. At first each stage is led, that is, given the teacher's values;
then the whole network runs on its own, and embedding, class scores and the likeness of every two sounds count too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from front_end import PATCH_SAMPLES, log_mel
from network import HINTS, Student
from sounds import Sounds, read_sounds
from teacher import Teacher
from torch import Tensor

BATCH = 48
ROWS = [6, 6, 6, 24, 48, 48, 48, 48]  # of a batch, that each led stage learns from: the first see many places in each
LED_SHARE = 0.45  # of the steps
RATE, LEAST_RATE = 2e-3, 1e-5  # of learning
WARMING_UP, KEPT = 200, 0.998  # steps; of the averaged weights, each step
FROZEN_SHARE = 0.1  # of the steps, at the end, with the normalizations' statistics fixed
EVERY = 250  # steps, a checkpoint
SCALED_BY = 300  # batches, from which the scale of the hints is learnt


class Scale:
    """How much each channel of each hint varies, learnt from the first batches."""

    def __init__(self) -> None:
        self.squares: list[Tensor] = []
        self._count = 0

    def update(self, hints: list[Tensor]) -> None:
        variances = [hint.var((0, 2, 3)) for hint in hints]
        self._count += 1
        if not self.squares:
            self.squares = variances
        self.squares = [a + (b - a) / self._count for a, b in zip(self.squares, variances, strict=True)]

    def error(self, number: int, made: Tensor, hint: Tensor) -> Tensor:
        square = self.squares[number]
        square = (square + 0.05 * square.mean()).view(1, -1, 1, 1)
        return ((made - hint).square() / square).mean()


def losses(teacher: Teacher, scale: Scale, made: list[Tensor], hints: list[Tensor]) -> dict[str, Tensor]:
    """What the student still has to learn."""
    first = len(hints) - len(made)
    errors = {f"hint {n}": scale.error(n, a, hints[n][: len(a)]) for n, a in enumerate(made, first)}
    ours, theirs = made[-1].mean((2, 3)), hints[-1].mean((2, 3))
    errors["embedding"] = (ours - theirs).square().mean() / theirs.var(0).mean()
    errors["scores"] = 0.02 * (teacher.scores(ours) - teacher.scores(theirs)).square().mean()
    unit = [torch.nn.functional.normalize(values - theirs.mean(0)) for values in (ours, theirs)]
    errors["likeness"] = 10 * (unit[0] @ unit[0].T - unit[1] @ unit[1].T).square().mean()
    return errors


def learning_rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARMING_UP)
    return LEAST_RATE + (RATE - LEAST_RATE) * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))


@torch.no_grad()
def validate(teacher: Teacher, student: Student, patches: Tensor) -> dict[str, float]:
    """How much of the teacher's embedding of unseen kinds of sounds is explained, and how alike the two are."""
    student.eval()
    parts = log_mel(patches).contiguous(memory_format=torch.channels_last).split(128)
    theirs = torch.cat([teacher(part)[-1].mean((2, 3)) for part in parts])
    ours = torch.cat([student(part)[-1].mean((2, 3)) for part in parts])
    student.train()
    explained = 1 - (ours - theirs).square().sum() / (theirs - theirs.mean(0)).square().sum()
    centred = [values - theirs.mean(0) for values in (ours, theirs)]
    return {"explained": float(explained), "alike": float(torch.cosine_similarity(*centred).mean())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=7_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    teacher = Teacher().to(memory_format=torch.channels_last)
    student = Student().to(memory_format=torch.channels_last)
    averaged = torch.optim.swa_utils.AveragedModel(
        student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(KEPT), use_buffers=True
    )
    optimizer = torch.optim.AdamW(student.parameters(), RATE, weight_decay=1e-4)
    scale, begun = Scale(), 0
    file = options.work / "checkpoint.pt"
    if file.exists():
        kept = torch.load(file, weights_only=True)
        student.load_state_dict(kept["student"])
        averaged.load_state_dict(kept["averaged"])
        optimizer.load_state_dict(kept["optimizer"])
        scale.squares, begun = kept["scale"], kept["step"]
    sounds = Sounds(options.data, seed=options.seed + begun)
    held_out = read_sounds(options.data / "sound_events", held_out=True).float() / 32_768
    patches = held_out.unfold(0, PATCH_SAMPLES, PATCH_SAMPLES // 2)[:512].contiguous()
    print(
        json.dumps({"minutes": {name: round(seconds / 60, 1) for name, seconds in sounds.seconds.items()}}), flush=True
    )
    batches, since, shown = sounds.batches(BATCH), time.monotonic(), {}

    @torch.no_grad()
    def make() -> tuple[Tensor, list[Tensor]]:
        levels = log_mel(next(batches)).contiguous(memory_format=torch.channels_last)
        layers = teacher(levels)
        return levels, [layers[number] for number in HINTS]

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))  # the teacher works beside the student
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(make)
        for step in range(begun, options.steps):
            levels, hints = coming.result()
            coming = ahead.submit(make)
            if step < SCALED_BY and begun == 0:
                scale.update(hints)
            is_led = step < LED_SHARE * options.steps
            if not is_led:
                student.eval()
                if step < (1 - FROZEN_SHARE) * options.steps:
                    for stage in student.late():
                        stage.train()
            made = student.led(levels, hints, ROWS) if is_led else student.late_values(levels)
            errors = losses(teacher, scale, made, hints)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, options.steps)
            optimizer.zero_grad()
            sum(errors.values()).backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
            optimizer.step()
            averaged.update_parameters(student)
            for name, error in errors.items():
                shown[name] = shown.get(name, error.item()) * 0.98 + error.item() * 0.02
            if (step + 1) % EVERY == 0 or step + 1 == options.steps:
                told = {"step": step + 1, "seconds": round(time.monotonic() - since), "led": is_led}
                told |= {name: round(error, 4) for name, error in shown.items()}
                told |= validate(teacher, averaged.module, patches)
                print(json.dumps(told), flush=True)
                state = {"student": student.state_dict(), "averaged": averaged.state_dict(), "step": step + 1,
                         "optimizer": optimizer.state_dict(), "scale": scale.squares}  # fmt: skip
                torch.save(state, file.with_suffix(".part"))
                file.with_suffix(".part").replace(file)


if __name__ == "__main__":
    main()
