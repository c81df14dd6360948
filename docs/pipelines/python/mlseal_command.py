"""Runs mlseal for the hooks beside this file: packs and signs a directory, and attests what was measured."""
from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass


class MlsealError(RuntimeError):
    """mlseal ended with another status than 0. Its standard error is the message."""

    def __init__(self, command: Sequence[str], status: int, stderr: str) -> None:
        super().__init__(f"{' '.join(command[:3])}: exit status {status}\n{stderr.strip()}")
        self.status = status
        self.stderr = stderr


def run(*arguments: str | os.PathLike[str], mlseal: str = "mlseal") -> str:
    """Runs mlseal without a shell and returns what it printed.

    The password of a key is in MLSEAL_PASSWORD, and in no argument: other users see those.
    There is no standard input, so that a job never waits for an answer.
    """
    command = [mlseal, *(os.fspath(argument) for argument in arguments)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace")
    except OSError as error:
        raise MlsealError(command, 127, f"{mlseal} cannot be started: {error}") from error
    if done.returncode != 0:
        raise MlsealError(command, done.returncode, done.stderr)
    return done.stdout


@dataclass(frozen=True)
class Evaluation:
    """What `mlseal attest evaluation` is told beside the results."""

    dataset: str
    """What was evaluated on: a directory, file or package."""
    evaluator: str
    """Who evaluated, best a URI."""
    key: str
    """Private key of the evaluator. Gates ask for another one than the trainer's."""
    thresholds: Sequence[str] = ()
    """What must be cleared, as in accuracy>=0.9. Without any no result counts as passed."""
    harness: str = ""
    """NAME@VERSION of the tool, or @VERSION where the file has the name."""

    def attest(self, ref: str, results: str | os.PathLike[str], mlseal: str = "mlseal") -> None:
        """Attests a result file; of an earlier run the same key's evaluation is replaced."""
        more = [part for threshold in self.thresholds for part in ("--threshold", threshold)]
        if self.harness:
            more += ["--harness", self.harness]
        run("attest", "evaluation", ref, "--results", results, "--dataset", self.dataset,
            "--evaluator", self.evaluator, "--key", self.key, "--replace", *more, mlseal=mlseal)


def pack(directory: str | os.PathLike[str], ref: str, key: str, mlseal: str = "mlseal") -> str:
    """Packs a directory as REF, signed, and returns the package's digest."""
    return run("pack", directory, ref, "--key", key, "-o", "digest", mlseal=mlseal).strip()


def pinned(ref: str, digest: str) -> str:
    """REF with the digest in the place of its tag, so that what follows is about that package whoever moves the tag."""
    head, colon, tag = ref.rpartition(":")
    if colon and "/" not in tag and head not in ("oci", "oci-archive"):
        ref = head
    return f"{ref}@{digest}"
