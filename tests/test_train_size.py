"""Sizes: width before height, written as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.size import Size

sides = st.integers(1, 4096)


@given(st.builds(Size, sides, sides))
def test_what_is_written_reads_back(size: Size):
    assert Size.of(str(size)) == Size.of(size.to_json()) == Size.of(list(size)) == size


def test_width_comes_first():
    assert Size.of("64x128") == (64, 128) and str(Size(64, 128)) == "64x128"
    assert Size.of(64) == Size(64, 64) and str(Size(64, 64)) == "64"


@given(st.builds(Size, sides, sides), st.integers(1, 9))
def test_over_is_the_factor(small: Size, factor: int):
    assert Size(small.width * factor, small.height * factor).factor_over(small) == factor
    assert Size(small.width * factor, small.height * factor + 1).factor_over(small) is None


@pytest.mark.parametrize("text", ["", "x", "64x", "64x64x3", "-8", "8.5", "64 x 32", "²"])
def test_other_text_is_refused(text: str):
    with pytest.raises(ValueError, match="no size"):
        Size.of(text)
