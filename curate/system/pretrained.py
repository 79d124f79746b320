"""Models that others trained, as transformers loads them: quietly, with errors that are sentences.

Nothing here imports a heavy library until it is called.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from typing import TYPE_CHECKING, Any

from curate.errors import InputError

if TYPE_CHECKING:
    from torch.nn import Module


@contextmanager
def loading(subject: str, *, fix: str) -> Iterator[None]:
    """Whatever transformers cannot load becomes one sentence; it draws no bars meanwhile.

    Nor does it tell of weights left out, as those of a tower that is not used.

    Args:
        subject: what is being loaded.
        fix: what to type instead.

    Raises:
        InputError: it cannot be loaded.
    """
    from transformers.utils import logging

    try:
        with quiet(logging, level=ERROR):
            yield
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        why = ((str(error) or type(error).__name__).strip().splitlines() or ["no reason given"])[0]
        raise InputError(subject, f"cannot be loaded ({why})", fix=fix) from None


@contextmanager
def quiet(*loggings: Any, level: int) -> Iterator[None]:
    """Libraries of the hub say nothing below `level` and draw no bars meanwhile.

    `loggings` are their modules `utils.logging`, which are made alike.
    """
    was = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in loggings]
    for log in loggings:
        log.set_verbosity(level)
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, verbosity, bar in was:
            log.set_verbosity(verbosity)
            if bar:
                log.enable_progress_bar()


def hash_weights(network: "Module") -> str:
    """SHA-256 over names, types and values of the weights, hexadecimal.

    Taken before they are moved or rounded it is the same wherever the network runs.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
