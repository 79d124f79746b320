from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ExitCode, InputError
from curate.prompts import aliases
from curate.text import stopwords
from curate.text.tokens import normalize, surfaces


def marked(text: str) -> tuple[str, str]:
    """The quality tags and the function words of a prompt."""
    forms = [normalize(surface) for surface in surfaces(text)]
    found = (stopwords.quality_tags(forms), stopwords.function_words(forms))
    return tuple(" ".join(forms[n] for n in sorted(places)) for places in found)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("Masterpiece", "masterpiece"),
        ("detailed", "detailed"),
        ("masterpiece, best quality, 8k", "masterpiece best quality 8k"),
        ("a high quality photo of a dog", "high quality"),
        ("a high mountain", ""),
        ("a trending hat", ""),
        ("a hat, trending on ArtStation", "trending on artstation"),
        ("an award-winning photo, ultra-detailed", "award-winning ultra-detailed"),
        ("award winning design", "award winning"),
        ("a professional photo", "professional"),
        ("a professional chef", ""),
        ("a chef, intricate, professional", "intricate professional"),
        ("an intricate pattern with intricate details", "intricate details"),
        (
            "unreal engine 5, octane render, ray tracing",
            "unreal engine 5 octane render ray tracing",
        ),
        ("a steam engine, a wall render", ""),
        ("sharp focus, sharp teeth", "sharp focus"),
        ("studio ghibli style, National Geographic", "style national geographic"),
        ("score_9, score_8_up", "score 9 score 8 up"),
        ("raw photo of raw meat", "raw"),
        ("best friends in 1920", ""),
        (
            "photo, watercolor, oil painting, anime, bokeh, close-up, portrait, volumetric light",
            "",
        ),
        ("black and white, 3d render, film grain, studio lighting, realistic", ""),
        ("cinematic lighting, hyper-realistic photo", "cinematic hyper-realistic"),
    ],
)
def test_quality_tags_change_quality_alone(text: str, tags: str):
    assert marked(text)[0] == tags


def test_the_user_may_name_quality_tags():
    forms = "the best girls of a girl guide, best moon-lit".replace(",", "").split()

    assert stopwords.quality_tags(forms) == frozenset()
    assert stopwords.quality_tags(forms, own=frozenset(["best girl"])) == {1, 2}
    assert stopwords.quality_tags(forms, own=frozenset(["moon lit"])) == {8}


@pytest.mark.parametrize(
    ("text", "function_words"),
    [
        ("a cat in front of the house", "a in front of the"),
        ("a red front door", "a"),
        ("a dog next to a tree on top of a hill", "a next to a on top of a"),
        ("a red top", "a"),
        ("on the left of the road, a left hand", "on the left of the a"),
        ("a lot of cars in a parking lot", "a lot of in a"),
        ("kind of blue, a kind man", "kind of a"),
        ("made of gold, two cats facing each other", "made of each other"),
        ("a can of soda, a tin can, it can fly", "a of a it can"),
        ("he is able to swim, going to sleep", "he is able to to"),
        ("walking past a gold mine", "past a"),
        ("in the past", "in the"),
        ("a friend of mine", "a of mine"),
        ("a round table round the corner", "a round the"),
        ("one dog, the one on the hill", "the one on the"),
        ("a still life, standing still", "a still"),
        ("a down jacket, down the road", "a down the"),
        ("the left side of the inside", "the of the inside"),
        ("a last will, it will rain", "a it will"),
        ("like a human being, being red", "like a being"),
    ],
)
def test_function_words_stand_in_their_context(text: str, function_words: str):
    assert marked(text)[1] == function_words


@given(st.lists(st.sampled_from("a can of best quality in front on top the 8k dog".split())))
def test_positions_are_those_of_words(forms: list[str]):
    for places in (stopwords.quality_tags(forms), stopwords.function_words(forms)):
        assert places <= set(range(len(forms)))
    tags = stopwords.quality_tags(forms)
    assert stopwords.quality_tags([*forms, "dog"]) >= tags - {len(forms) - 1}


def test_reads_what_the_user_says(tmp_path: Path):
    file = tmp_path / "aliases.toml"
    file.write_text(
        'phrases = ["Moon  Elf"]\nmeta = ["best girls"]\nnot-visual = ["Eternal"]\n'
        '[alias]\nBlizzard = ["snowstorm", "snow storm", "snowstorm"]\n'
        'blizzards = ["whiteout"]\n[typo]\nblizard = "blizzard"\n'
    )
    assert aliases.read_aliases(file) == aliases.Aliases(
        {"blizzard": ("snowstorm", "snow storm", "whiteout")},
        {"blizard": "blizzard"},
        frozenset(["moon elf"]),
        frozenset(["best girl"]),
        frozenset(["eternal"]),
    )
    file.write_text("")
    assert aliases.read_aliases(file) == aliases.NO_ALIASES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phrase = []", "{file}: no setting 'phrase'\n  fix: did you mean phrases?"),
        ("[aliases]", "{file}: no setting 'aliases'\n  fix: did you mean alias?"),
        ("zzz = 1", "{file}: no setting 'zzz'\n  fix: one of alias, typo, phrases"),
        ("not_visual = []", "{file}: no setting 'not_visual'\n  fix: did you mean not-visual?"),
        (
            '[alias]\nice = "snow"',
            "{file} alias.ice: 'snow' is not a list of texts in quotes\n  fix: write",
        ),
        ("[typo]\nice = 3", "{file} typo.ice: 3 is not a text in quotes\n  fix: write a text"),
        ('[typo]\nice = "!"', "{file} typo.ice: '!' holds no word\n  fix: write a word"),
        ("alias = []", "{file} alias: [] is not a table [alias]\n  fix: write a table"),
        ("meta = 'best'", "{file} meta: 'best' is not a list of texts in quotes\n  fix: write a"),
        ("phrases = ['elf']", "{file} phrases: 'elf' is a single word\n  fix: phrases have two"),
        ("a = [", "{file}: not TOML (Invalid value"),
    ],
)
def test_says_what_is_wrong_with_aliases(tmp_path: Path, text: str, message: str):
    file = tmp_path / "aliases.toml"
    file.write_text(text)

    with pytest.raises(InputError) as caught:
        aliases.read_aliases(file)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n  fix: " in str(caught.value)
    assert caught.value.exit_code == ExitCode.INPUT


def test_says_that_aliases_are_missing_or_no_text(tmp_path: Path):
    with pytest.raises(InputError, match=r"absent.toml: no such file"):
        aliases.read_aliases(tmp_path / "absent.toml")
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"a.toml: not UTF-8 text"):
        aliases.read_aliases(tmp_path / "a.toml")


def test_can_be_is_no_can():
    words = "the keys are released and can be regulated".split()
    assert words.index("can") in stopwords.function_words(words)
    words = "a bottle and a can of soda".split()
    assert words.index("can") not in stopwords.function_words(words)
