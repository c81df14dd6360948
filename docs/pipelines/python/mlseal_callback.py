"""Seals what a transformers.Trainer saved.

    Trainer(..., callbacks=[MlsealCallback("oci:store:v1", "trainer.key")])

It packs and signs the last checkpoint (the best one with load_best_model_at_end) when training
ends, and attests the last evaluation in its trainer_state.json when it is told how. A failing
mlseal fails the training job. See README.md beside this file.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import transformers
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import mlseal_command
from mlseal_command import Evaluation

RESULTS = ("eval_results.json", "trainer_state.json")


class MlsealCallback(TrainerCallback):
    """Packs, signs and attests on the process of rank 0; the others do nothing.

    ref: where the package goes. Checkpoints in between get the tag with -STEP behind it.
    key: private key of who trains; the password of it is in MLSEAL_PASSWORD.
    evaluation: attests the Trainer's own evaluation of the directory that is sealed.
    directory: what is sealed at the end, in place of the checkpoint.
    every_save: seal each checkpoint as it is saved, too.
    """

    def __init__(self, ref: str, key: str, *, evaluation: Evaluation | None = None,
                 directory: str | None = None, every_save: bool = False, mlseal: str = "mlseal") -> None:
        self.ref = ref
        self.key = key
        if evaluation is not None and not evaluation.harness:
            evaluation = replace(evaluation, harness=f"@{transformers.__version__}")
        self.evaluation = evaluation
        self.directory = directory
        self.every_save = every_save
        self.mlseal = mlseal
        self.digests: dict[str, str] = {}
        """What was sealed: the digest by the reference."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by the Trainer after it saved a checkpoint."""
        if self.every_save and state.is_world_process_zero:
            self.seal(checkpoint(args, state.global_step), f"{self.ref}-{state.global_step}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by the Trainer at the end, before train() returns."""
        if not state.is_world_process_zero:
            return
        if self.directory is not None:
            self.seal(Path(self.directory), self.ref)
        elif args.load_best_model_at_end and state.best_model_checkpoint:
            self.seal(Path(state.best_model_checkpoint), self.ref)
        else:
            self.seal(checkpoint(args, state.global_step), self.ref)

    def seal(self, directory: Path, ref: str) -> str:
        """Packs and signs a directory, attests its evaluation, and returns the digest.

        To seal what trainer.save_model() wrote, call it after that, on one process.
        """
        if not directory.is_dir():
            raise FileNotFoundError(f"{directory} was not saved: set save_strategy so that the last step is, or name a directory")
        results = None
        if self.evaluation is not None:
            results = next((directory / name for name in RESULTS if (directory / name).is_file()), None)
            if results is None:
                raise FileNotFoundError(f"{directory} has none of {', '.join(RESULTS)} to attest")
        digest = mlseal_command.pack(directory, ref, self.key, self.mlseal)
        if self.evaluation is not None and results is not None:
            self.evaluation.attest(mlseal_command.pinned(ref, digest), results, self.mlseal)
        self.digests[ref] = digest
        return digest


def checkpoint(args: TrainingArguments, step: int) -> Path:
    """Where the Trainer saves the checkpoint of a step."""
    return Path(str(args.output_dir)) / f"checkpoint-{step}"
