"""What the bytes of an image say of training and of AI, read in the sandbox."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Signal
from curate.rights.signals.blocks import read_blocks
from curate.rights.signals.content_credentials import (
    UNREAD,
    can_read_credentials,
    read_credentials,
)
from curate.rights.signals.xmp import read_xmp
from curate.system import sandbox
from curate.system.progress import SILENT, Progress, track

READER_VERSION = "1"  # another one reads every image again
READ_CREDENTIALS = 'pip install "fubuki[opt-outs]", then curate check, reads them'
WITHOUT_CREDENTIALS = f"{READER_VERSION} without c2pa"  # read again once c2pa is installed


def read_embedded(
    samples: Sequence[Sample], store: Store, progress: Progress = SILENT
) -> list[Sample]:
    """Fill `embedded`, `ai_embedded` and `embedded_by` of every image whose bytes were not read.

    Read once an image and `READER_VERSION`, dropped ones too; equal bytes once. An image whose
    Content Credentials cannot be read for want of the extra `opt-outs` has the signal
    `c2pa:unread`, and is read again when the extra is there. One over which the reader dies has
    `embedded:unread`. The same rows in the same order come back.

    Raises:
        InputError: a stored file is missing or has changed.
    """
    done = {READER_VERSION} if can_read_credentials() else {READER_VERSION, WITHOUT_CREDENTIALS}
    due = {s.key: s.sha256 for s in samples if s.sha256 and s.embedded_by not in done}
    hashes = sorted(set(due.values()))
    filled = list(samples)
    if hashes:
        jobs = [{"root": str(store.root), "sha256": sha256} for sha256 in hashes]
        answers = sandbox.run_jobs(f"{__name__}:read_embedded_job", jobs)
        shown = track(answers, len(hashes), "images read for opt-outs", progress)
        found = {h: _fields(answer) for h, answer in zip(hashes, shown, strict=True)}
        filled = [replace(s, **found[due[s.key]]) if s.key in due else s for s in samples]
    if unread := sum(s.embedded_by == WITHOUT_CREDENTIALS for s in filled):
        held = f"images held back for Content Credentials that are not read: {unread}"
        progress.say(f"{held}; {READ_CREDENTIALS}")
    return filled


def _fields(answer: sandbox.JobResult | sandbox.WorkerFailure) -> dict[str, Any]:
    if isinstance(answer, sandbox.WorkerFailure):
        signals, ai, by = (Signal("embedded:unread", None, "item"),), None, READER_VERSION
        return {"embedded": signals, "ai_embedded": ai, "embedded_by": by}
    said, _ = answer
    return said | {"embedded": tuple(Signal(**signal) for signal in said["embedded"])}


def read_embedded_job(root: str, sha256: str) -> sandbox.JobResult:
    """What a stored image's bytes say, by field of `Sample`; for `sandbox.run_jobs`."""
    return read_bytes(Store(Path(root)).get(sha256)), b""


def read_bytes(data: bytes) -> dict[str, Any]:
    """What an image's bytes say, by field of `Sample`, as plain values."""
    blocks = read_blocks(data)
    signals: list[Signal] = [Signal("xmp:unread", None, "item")] if blocks.too_large else []
    read = [read_xmp(packet) for packet in blocks.packets]
    by = READER_VERSION
    if blocks.credentials and can_read_credentials():
        read.append(read_credentials(data, blocks.mime))
    elif blocks.credentials:
        signals.append(UNREAD)
        by = WITHOUT_CREDENTIALS
    for found, _ in read:
        signals += found
    made = {ai for _, ai in read}
    return {
        "embedded": [asdict(signal) for signal in dict.fromkeys(signals)],
        "ai_embedded": True if True in made else False if False in made else None,
        "embedded_by": by,
    }
