"""Teach the student what the teacher hears.

    python recipes/ear/distill.py DATA WORK [--steps N] [--seed N]

DATA holds the unpacked data sets; WORK gets the checkpoint, from which an interrupted training goes on.

The teacher's values within the network are hints (Romero et al. 2015, FitNets, arXiv:1412.6550): each stage of the
student has to give what the teacher gives at that place. At first each stage is led, that is, given the teacher's
values; then the whole network runs on its own. Embedding, class scores and the likeness of every two sounds count too.
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
from torch import Tensor, nn

BATCH = 48
ROWS = [6, 6, 6, 24, 48, 48, 48, 48]  # of a batch, that each led stage learns from: the first see many places in each
LED_SHARE = 0.45  # of the steps
RATE, LEAST_RATE = 2e-3, 1e-5  # of learning
WARMING_UP, KEPT = 200, 0.998  # steps; of the averaged weights, each step
SETTLING = 40  # batches, from which the normalizations' statistics are taken when the stages are joined, to stay
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
    unit = [nn.functional.normalize(values - theirs.mean(0)) for values in (ours, theirs)]
    errors["likeness"] = 10 * (unit[0] @ unit[0].T - unit[1] @ unit[1].T).square().mean()
    return errors


def learning_rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARMING_UP)
    return LEAST_RATE + (RATE - LEAST_RATE) * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))


@torch.no_grad()
def validate(teacher: Teacher, student: nn.Module, patches: Tensor) -> dict[str, float]:
    """How much of the teacher's embedding of unseen kinds of sounds is explained, and how alike the two are."""
    student.eval()
    parts = log_mel(patches).contiguous(memory_format=torch.channels_last).split(128)  # type: ignore[no-untyped-call]
    theirs = torch.cat([teacher(part)[-1].mean((2, 3)) for part in parts])
    ours = torch.cat([student(part)[-1].mean((2, 3)) for part in parts])
    student.train()
    explained = 1 - (ours - theirs).square().sum() / (theirs - theirs.mean(0)).square().sum()
    alike = torch.cosine_similarity(ours - theirs.mean(0), theirs - theirs.mean(0))
    return {"explained": float(explained), "alike": float(alike.mean())}


class Distillation:
    """A training, which can be interrupted.

    Args:
        data: the folder of the unpacked data sets.
        work: the folder of the checkpoint.
        steps: how many steps it has in all.
        seed: the random seed.
    """

    def __init__(self, data: Path, work: Path, steps: int, seed: int) -> None:
        torch.manual_seed(seed)
        self._steps, self._file = steps, work / "checkpoint.pt"
        self.teacher, self.student = Teacher(), Student()
        for network in (self.teacher, self.student):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = torch.optim.swa_utils.AveragedModel(
            self.student, use_buffers=True,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(KEPT),  # type: ignore[no-untyped-call]
        )  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.student.parameters(), RATE, weight_decay=1e-4)
        self.scale, self.step = Scale(), 0
        if self._file.exists():
            self._resume()
        self._batches = Sounds(data, seed=seed + self.step).batches(BATCH)
        held_out = read_sounds(data / "sound_events", held_out=True).float() / 32_768
        self._patches = held_out.unfold(0, PATCH_SAMPLES, PATCH_SAMPLES // 2)[:512].contiguous()

    def run(self) -> None:
        """Go on to the end, and print what is learnt."""
        shown: dict[str, float] = {}
        since = time.monotonic()
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))  # the teacher works beside the student
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._make)
            while self.step < self._steps:
                batch = coming.result()
                if self.step == math.ceil(LED_SHARE * self._steps):
                    self._join()
                coming = ahead.submit(self._make)
                for name, error in self._learn(*batch).items():
                    shown[name] = shown.get(name, error) * 0.98 + error * 0.02
                self.step += 1
                if self.step % EVERY == 0 or self.step == self._steps:
                    told: dict[str, float] = {"step": self.step, "seconds": round(time.monotonic() - since)}
                    told |= {name: round(error, 4) for name, error in shown.items()}
                    told |= validate(self.teacher, self.averaged, self._patches)
                    print(json.dumps(told), flush=True)
                    self._save()

    @torch.no_grad()
    def _make(self) -> tuple[Tensor, list[Tensor]]:
        levels = log_mel(next(self._batches)).contiguous(memory_format=torch.channels_last)
        layers = self.teacher(levels)
        return levels, [layers[number] for number in HINTS]

    @torch.no_grad()
    def _join(self) -> None:
        """Take the normalizations' statistics from the whole network, and begin to average anew.

        In the late stages few values are far from zero, and a batch's own statistics differ too much from batch to
        batch to learn with.
        """
        norms = [module for module in self.student.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        self.student.train()
        for _ in range(SETTLING):
            self.student(self._make()[0])
        self.averaged.module.load_state_dict(self.student.state_dict())
        self.averaged.n_averaged.zero_()

    def _learn(self, levels: Tensor, hints: list[Tensor]) -> dict[str, float]:
        if self.step < SCALED_BY:
            self.scale.update(hints)
        is_led = self.step < LED_SHARE * self._steps
        self.student.train(is_led)
        made = self.student.led(levels, hints, ROWS) if is_led else self.student.late_values(levels)
        errors = losses(self.teacher, self.scale, made, hints)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self._steps)
        self.optimizer.zero_grad()
        torch.stack(list(errors.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        self.averaged.update_parameters(self.student)
        return {name: error.item() for name, error in errors.items()}

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"student": self.student, "averaged": self.averaged, "optimizer": self.optimizer}

    def _resume(self) -> None:
        kept = torch.load(self._file, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(kept[name])
        self.scale.squares, self.step = kept["scale"], kept["step"]

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        aside = self._file.with_suffix(".part")
        torch.save({**state, "scale": self.scale.squares, "step": self.step}, aside)
        aside.replace(self._file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    Distillation(options.data, options.work, options.steps, options.seed).run()


if __name__ == "__main__":
    main()
