"""Rows for tests: any sample at all, and a plain one."""

from dataclasses import replace

from hypothesis import strategies as st

from curate.dataset.sample import Caption, Likeness, Sample, Verdict, make_key

words = st.text(max_size=8)
verdicts = st.none() | st.builds(
    Verdict, st.sampled_from(["allow", "hold", "deny"]), st.lists(words, max_size=2).map(tuple)
)
counts = st.none() | st.integers(0, 2**62)
samples = st.builds(
    Sample,
    key=words.map(lambda s: make_key("test", s)),
    source=words,
    author=st.none() | words,
    tags=st.lists(words, max_size=3).map(tuple),
    texts=st.lists(words, max_size=2).map(tuple),
    opt_outs=st.lists(words, max_size=2).map(tuple),
    ai_generated=st.none() | st.booleans(),
    train=verdicts,
    share_model=verdicts,
    width=counts,
    byte_count=counts,
    sharpness=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    likeness=st.none() | st.builds(Likeness, words, words, st.floats(0, 1)),
    captions=st.lists(st.builds(Caption, words, words), max_size=2).map(tuple),
    dropped=st.none() | words,
)
some_samples = st.lists(samples, max_size=5, unique_by=lambda s: s.key)


def row(key: str, **known: object) -> Sample:
    return replace(Sample(key=f"test-{key}", source="test"), **known)  # type: ignore[arg-type]
