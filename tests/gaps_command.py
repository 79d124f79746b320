"""The command `curate vocab-gaps`, as its users run it."""

import pytest

from curate.cli import main


def run_vocab_gaps(*arguments: str) -> int:
    """Its exit code."""
    with pytest.raises(SystemExit) as stopped:
        main(["vocab-gaps", *arguments])
    code = stopped.value.code
    assert isinstance(code, int)
    return code
