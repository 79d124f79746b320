"""Models that others trained, as transformers loads them: quietly, with errors that are sentences.

Nothing here imports a heavy library until it is called.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

    was, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        why = ((str(error) or type(error).__name__).strip().splitlines() or ["no reason given"])[0]
        raise InputError(subject, f"cannot be loaded ({why})", fix=fix) from None
    finally:
        logging.set_verbosity(was)
        if bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


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
