"""What a sample of our shards is to Hugging Face's `datasets`, so that it need not guess.

It guesses from five samples, and fails where a later one states what those did not. Source:
huggingface/datasets, `packaged_modules/webdataset/webdataset.py`, and `Features._to_yaml_list`.
"""

import types
import typing
from typing import Any

from curate.formats.shards import Record

_SCALARS = {str: "string", int: "int64", float: "float64", bool: "bool"}


def sample_features(format: str) -> list[dict[str, Any]]:
    """The columns of a sample as `dataset_info` in the head of a card names them."""
    return [
        {"name": format, "dtype": "image"},
        {"name": "json", **_feature(Record)},
        {"name": "txt", "dtype": "string"},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def _feature(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
    if typing.get_origin(hint) is list:
        inner = _feature(typing.get_args(hint)[0])
        return {"list": inner["struct"] if "struct" in inner else inner["dtype"]}
    if typing.is_typeddict(hint):
        hints = typing.get_type_hints(hint)
        return {"struct": [{"name": name, **_feature(one)} for name, one in hints.items()]}
    return {"dtype": _SCALARS[hint]}
