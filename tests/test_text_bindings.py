"""Which adjective says something of which noun."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import lines_run

from curate.text import bindings, tokens
from curate.text.lemmas import lemmas_of

# a run of words | the bindings in it
SENTENCES = """
a red car | red car
a big red sports car | big car, red car
two black cats | black cats
a very large and extremely old tree | large tree, old tree
the most beautiful girl | beautiful girl
a bigger house next to the tallest tower | bigger house, tallest tower
a red and blue car | red car, blue car
a red and a blue car | red car, blue car
a black and white photo | black photo, white photo
a tall tree and a small house | tall tree, small house
a cat and a small dog | small dog
the sky is green | green sky
the cars are red and blue | red cars, blue cars
the cat and the dog are black | black cat, black dog
a dog that is very large | large dog
a girl who is young | young girl
the man in the red hat is old | red hat, old man
a girl holding an umbrella is happy | happy girl
the old house looks empty | old house, empty house
the house is not red |
there is a red door | red door
is the apple green |
a flying pig | flying pig
flying pig | flying pig
three running horses | running horses
a broken window | broken window
the window is broken | broken window
the window is broken by a stone |
a half eaten apple | eaten apple
a sphere was nestled between two red cubes | red cubes
a snow-covered mountain | snow-covered mountain
a snow covered mountain | covered mountain
a fire-breathing dragon | fire-breathing dragon
a one-eyed pirate | one-eyed pirate
a low-poly fox | low-poly fox
blue-eyes white dragon | blue-eyes dragon, white dragon
a red t-shirt | red t-shirt
a red cup of coffee | red cup
a cup of hot coffee | hot coffee
a large group of young people | large group, young people
an old stone bridge | old bridge
a stone bridge over a calm river | calm river
a brown leather jacket | brown jacket
a leather jacket |
a plastic chair and a wooden table | wooden table
a golden crown | golden crown
a gold ring and a silver sword | gold ring, silver sword
a glass of orange juice | orange juice
a ripe orange on a plate | ripe orange
an orange and white cat | orange cat, white cat
the car is bright orange | orange car
a dark blue car | blue car
a dark forest | dark forest
a light blue sky | blue sky
a light wooden box | light box, wooden box
warm light and a soft glow | warm light, soft glow
a golden light fills the room | golden light
a giant spider | giant spider
a green giant | green giant
fantasy castle |
anime girl long hair | long hair
five apples and several pears |
the second floor of a tall building | tall building
a wall painted blue | blue wall
a woman with her eyes closed | closed eyes
the old man's hat | old man's
a dragon's green eyes | green eyes
a girl wearing red shoes | red shoes
girl wearing red shoes | red shoes
a fishing boat on the sea |
a smiling sloth wearing a leather jacket | smiling sloth
a red bird flies over a green field | red bird, green field
a knight fights a green dragon | green dragon
brave knights attack the dark castle | brave knights, dark castle
two brown dogs play in the tall grass | brown dogs, tall grass
a cute corgi lives in a house | cute corgi
traffic lights on a wet street | wet street
the yellow cheese wheel sat on a round table | yellow wheel, round table
a fluffy white cat sleeping on a soft cushion | fluffy cat, white cat, soft cushion
a rusty old red pickup truck with white doors | rusty truck, old truck, red truck, white doors
dragon elf knight |
eternal force blizzard | eternal blizzard
dark magician girl | dark girl
ancient gear golem | ancient golem
a photo of a very tiny house made of bread | tiny house
large and red |
in the very dark |
"""
CASES = [line.split("|") for line in SENTENCES.strip().splitlines()]
WORDS = sorted({word for sentence, _ in CASES for word in sentence.split()})
runs = st.lists(st.sampled_from(WORDS), max_size=12)


@pytest.mark.parametrize(("sentence", "expected"), CASES)
def test_each_adjective_finds_its_noun(sentence: str, expected: str):
    words = sentence.split()
    found = {f"{words[a]} {words[n]}" for a, n in bindings.find_bindings(words)}
    assert found == {pair.strip() for pair in expected.split(",") if pair.strip()}


@given(runs)
def test_positions_are_in_range_and_differ(words: list[str]):
    found = bindings.find_bindings(words)
    assert found == sorted(set(found))
    assert all(0 <= a < len(words) and 0 <= n < len(words) and a != n for a, n in found)


@given(runs)
def test_an_adjective_behind_its_noun_is_said_of_it(words: list[str]):
    said = "is was are were with painted dyed looks".split()
    for adjective, noun in bindings.find_bindings(words):
        if adjective > noun:
            assert set(words[: adjective + 1]) & set(said)


@given(runs)
def test_a_caption_in_the_words_of_the_prompt_binds_what_the_prompt_binds(words: list[str]):
    for adjective, noun in bindings.find_bindings(words):
        one, other = lemmas_of(words[adjective]), lemmas_of(words[noun])
        assert bindings.binds(words, one, other)


@given(runs, runs)
def test_words_behind_a_full_stop_change_nothing(words: list[str], more: list[str]):
    text = f"{' '.join(words)}. {' '.join(more)}"
    first, second = (run.split() for run in re.split(r"\.", text))
    assert bindings.find_bindings(first) == bindings.find_bindings(words)
    assert bindings.find_bindings(second) == bindings.find_bindings(more)


def binds(caption: str, adjective: str, noun: str) -> bool:
    return bindings.binds(caption.split(), lemmas_of(adjective), lemmas_of(noun))


@pytest.mark.parametrize(
    ("caption", "adjective", "noun"),
    [
        ("many big red cars", "red", "car"),
        ("the car is red", "red", "car"),
        ("the cars on the street are red", "red", "car"),
        ("a red and blue car", "blue", "car"),
        ("a dog sleeping on a sofa", "sleeping", "dog"),
        ("the dog is sleeping", "sleeping", "dog"),
        ("a mountain covered with snow", "covered", "mountain"),
        ("a snow covered mountain", "snow-covered", "mountain"),
        ("the largest trees", "large", "tree"),
    ],
)
def test_a_caption_that_says_it(caption: str, adjective: str, noun: str):
    assert binds(caption, adjective, noun)


@pytest.mark.parametrize(
    ("caption", "adjective", "noun"),
    [
        ("a red house and a car", "red", "car"),
        ("a car in front of a red house", "red", "car"),
        ("a red toy for a car", "red", "car"),
        ("a red car door", "red", "car"),
        ("the car is not red", "red", "car"),
        ("the red hat of the man is old", "old", "man"),
        ("a blue car", "red", "car"),
        ("", "red", "car"),
    ],
)
def test_a_caption_that_says_something_else(caption: str, adjective: str, noun: str):
    assert not binds(caption, adjective, noun)


def test_a_phrase_holds_no_binding_and_takes_those_from_outside():
    words = "a big red panda".split()
    assert bindings.find_bindings(words) == [(1, 3), (2, 3)]
    assert bindings.find_bindings(words, phrases=[(2, 4)]) == [(1, 3)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a big", "red", True),
        ("a dog and a very big", "red", True),
        ("a big dog", "red", False),
        ("a big", "dog", False),
        ("beautiful", "red", False),  # a list of tags
        ("", "red", False),
    ],
)
def test_a_comma_between_adjectives_of_one_noun(before: str, after: str, expected: bool):
    assert bindings.is_adjective_comma(before.split(), after) is expected


def test_a_caption_takes_a_few_hundred_steps():
    caption = "a small dog runs after a big red sports car on the wet street".split()
    red, car = lemmas_of("red"), lemmas_of("car")
    assert bindings.binds(caption, red, car)  # reads the lists
    assert lines_run(bindings.binds, caption, red, car) < 500


@pytest.mark.parametrize("word", "very red dragon orange dragons is and the two with in".split())
def test_steps_grow_with_the_length_of_a_run(word: str):
    def steps(count: int) -> int:
        words = [*"the car with red".split(), *[word] * count, *"is red and a car is".split()]
        return lines_run(bindings.find_bindings, words)

    assert steps(4000) < 4.4 * steps(1000)


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str):
    words = [tokens.normalize(surface) for surface in tokens.surfaces(text)]
    assert all(a < len(words) and n < len(words) for a, n in bindings.find_bindings(words))
