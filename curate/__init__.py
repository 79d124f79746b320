"""The data half: from a name on the web to a tar file that a trainer reads.

The names below are what the library declares; each is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "CurateError", "Dataset", "GapsSettings", "TerminalProgress", "build_dataset",
    "caption_dataset", "check_dataset", "dataset_credits", "explain", "fetch_images",
    "find_duplicates", "iterate_samples", "pack", "vocab_gaps",
]  # fmt: skip

if TYPE_CHECKING:
    from curate.commands.build import build_dataset, caption_dataset, check_dataset
    from curate.commands.explain import explain
    from curate.commands.gaps import GapsSettings, vocab_gaps
    from curate.dataset.folder import Dataset
    from curate.errors import CurateError
    from curate.fetch.run import fetch_images
    from curate.formats.shards import iterate_samples
    from curate.images.dedup import find_duplicates
    from curate.rights.credits import dataset_credits
    from curate.shards.pack import pack
    from curate.system.terminal import TerminalProgress

_NAMES = {  # by module
    "commands.build": "build_dataset caption_dataset check_dataset",
    "commands.explain": "explain",
    "commands.gaps": "GapsSettings vocab_gaps",
    "dataset.folder": "Dataset",
    "errors": "CurateError",
    "fetch.run": "fetch_images",
    "formats.shards": "iterate_samples",
    "images.dedup": "find_duplicates",
    "rights.credits": "dataset_credits",
    "shards.pack": "pack",
    "system.terminal": "TerminalProgress",
}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(import_module(f"curate.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
