import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.lemmas import is_function_word, lemmas_of, unit_of
from curate.text.spelling import Vocabulary
from curate.text.tokens import normalize, surfaces

# what a prompt may name, with its plural
PLURALS = """
apple apples | bench benches | blizzard blizzards | box boxes | bus buses | cat cats
cherry cherries | child children | city cities | dragon dragons | dwarf dwarves | elf elves
fairy fairies | fly flies | foot feet | fox foxes | glass glasses | goose geese | hero heroes
horse horses | house houses | knife knives | leaf leaves | mage mages | man men | mouse mice
ninja ninjas | octopus octopuses | ox oxen | painting paintings | person people | potato potatoes
princess princesses | rose roses | shelf shelves | sky skies | snowman snowmen | story stories
t-shirt t-shirts | tooth teeth | toy toys | waltz waltzes | wing wings | witch witches
wolf wolves | woman women | yeti yetis | zombie zombies
"""


# a form and lemmas that it must have, whatever others it has
READINGS = """
leaves leaf,leave | axes axe,axis | skies sky | wolves wolf | knives knife | paris paris
glass glass | glasses glass | dice die | mice mouse | running run | flying fly | painted paint
best good | better good | worse bad | worst bad | further far | children's child | women's woman
potatoes potato | heroes hero | buses bus | fish fish | fishes fish | sheep sheep
dwarves dwarf | dwarfs dwarf | people person | men man | oxen ox | geese goose | cacti cactus
bacteria bacterium | spun spin | slain slay | ridden ride | worn wear | drawn draw | dogs dog
cats cat | boxes box | foxes fox | churches church | dishes dish | brushes brush | dresses dress
kisses kiss | cities city | ponies pony | puppies puppy | fairies fairy | butterflies butterfly
cherries cherry | strawberries strawberry | toys toy | monkeys monkey | keys key | days day
halves half | calves calf | elves elf | shelves shelf | thieves thief | loaves loaf
scarves scarf | hooves hoof | wives wife | lives life | teeth tooth | feet foot | children child
women woman | snowmen snowman | firemen fireman | policemen policeman | mermaids mermaid
octopuses octopus | octopi octopus | fungi fungus | nuclei nucleus | larvae larva
antennae antenna | vertices vertex | crystals crystal | crises crisis | oases oasis
bases base,basis | phenomena phenomenon | criteria criterion | tomatoes tomato
volcanoes volcano | mosquitoes mosquito | mangoes mango | photos photo | pianos piano | zoos zoo
kangaroos kangaroo | bamboos bamboo | igloos igloo | tattoos tattoo | deer deer | moose moose
salmon salmon | swine swine | aircraft aircraft | spacecraft spacecraft | series series
species species | scissors scissors | trousers trousers | jeans jeans | pants pants
clothes clothes | sunglasses sunglasses | binoculars binoculars | stairs stair | woods wood
waves wave | gloves glove | doves dove | stoves stove | caves cave | olives olive | graves grave
slaves slave | sleeves sleeve | eyes eye | shoes shoe | horses horse | houses house | roses rose
noses nose | vases vase | cheeses cheese | bridges bridge | oranges orange | faces face
races race | spaces space | places place | buttons button | bees bee | trees tree | knees knee
lenses lens | gases gas | irises iris | walruses walrus | viruses virus | cactuses cactus
atlases atlas | quizzes quiz | waltzes waltz | topazes topaz | ninjas ninja | samurai samurai
yetis yeti | zombies zombie | cookies cookie | movies movie | selfies selfie | hoodies hoodie
genies genie | pixies pixie | brownies brownie | smoothies smoothie | mages mage
archers archer | sat sit | sitting sit | stood stand | standing stand | ran run | runs run
swam swim | swimming swim | flew fly | flown fly | flies fly | ate eat | eaten eat | eating eat
drank drink | drunk drink | drove drive | driven drive | driving drive | rode ride | riding ride
wore wear | wearing wear | held hold | holding hold | threw throw | thrown throw | caught catch
fought fight | fighting fight | broke break | broken break | frozen freeze | froze freeze
woven weave | stolen steal | hidden hide | bitten bite | written write | shaken shake
fallen fall | grown grow | blown blow | torn tear | sewn sew | sewed sew | shone shine
lit light | burnt burn | burned burn | built build | sunk sink | sunken sunken | swung swing
hung hang | hanging hang | lying lie | lay lie | laid lay | dying die | tied tie | tying tie
crying cry | cried cry | carried carry | carrying carry | hopping hop | hoping hope
stopped stop | jumping jump | jumped jump | smiling smile | dancing dance | danced dance
baking bake | baked bake | shining shine | glowing glow | knitted knit | knit knit
wrapped wrap | striped stripe | spotted spot | dotted dot | tattooed tattoo | winged winged
bearded beard | bigger big | biggest big | smaller small | taller tall | tallest tall
happier happy | happiest happy | tinier tiny | tiniest tiny | redder red | bluer blue
whiter white | larger large | largest large | older old | eldest old | elder old | furthest far
farther far | more more | most most | dog's dog | men's man | witch's witch | saw see | saws saw
sawing saw | felt feel | found find | bound bind | bears bear | bats bat | cranes crane
bows bow | lain lie | led lead | fed feed | bred breed | shod shoe | struck strike
sprung spring | sprang spring | wept weep | slept sleep | swept sweep | crept creep
knelt kneel | dealt deal | meant mean | split split | spread spread | spilt spill
spilled spill | leapt leap | leaped leap | dreamt dream | beheaded behead | mummified mummify
petrified petrify | crystallized crystallize | steampunk steampunk | cyborgs cyborg
robots robot | androids android | emojis emoji | gnomes gnome | ghouls ghoul | liches lich
harpies harpy | valkyries valkyrie | banshees banshee | furies fury | monarchs monarch
matryoshkas matryoshka | tacos taco | burritos burrito | sushi sushi | spaghetti spaghetti
graffiti graffiti | confetti confetti | paparazzi paparazzo | media medium | alumni alumnus
stimuli stimulus | syllabi syllabus | radii radius | hippopotami hippopotamus
hippopotamuses hippopotamus | platypuses platypus | rhinoceroses rhinoceros | sphinxes sphinx
phoenixes phoenix | matrices matrix | indices index | appendices appendix | beaux beau
chateaux chateau | plateaus plateau | bureaus bureau | lice louse | brethren brother
pence penny | passersby passerby | mothers-in-law mother-in-law | t-shirts t-shirt
ice-dragons ice-dragon | forests forest | flowers flower | towers tower | spiders spider
riders rider | soldiers soldier | feathers feather | colors color | colours colour | grey grey
gray gray | goldfish goldfish | jellyfish jellyfish | jellyfishes jellyfish
wildebeest wildebeest | bison bison | offspring offspring | headquarters headquarters
barracks barracks | crossroads crossroads | gallows gallows | christmas christmas | texas texas
atlas atlas | pyjamas pyjamas | pajamas pajamas | mars mars | venus venus | james james
chess chess | boss boss | princess princess | princesses princess | goddesses goddess
witches witch | peaches peach | beaches beach | couches couch | watches watch | torches torch
arches arch | branches branch | matches match | headaches headache | avalanches avalanche
axolotls axolotl | llamas llama | alpacas alpaca | emus emu | menus menu | gnus gnu | gurus guru
haiku haiku | kimonos kimono | geishas geisha | katanas katana | shuriken shuriken | ronin ronin
shorts shorts
"""
# forms that look alike and must not be taken for each other
APART = """
rose rise | ground grind | wound wind | shot shoot | left leave | left leaf | bore bear | born bear
shorts short | mars mar | pants pant | archer arch | flower flow | best well | feed fee | lens len
calves calve | loaves loave | thieves thieve | skies ski | paris pari | bus bu | wedding wed
building build | ceiling ceil | evening even | lightning lighten | jeans jean | goggles goggle
tights tight | winged wing | naked nake | wicked wick | series serie | species specie | news new
offering off | mass mas | glass glas | princess princes | corner corn | tower tow | hundred hundr
"""


def rows(table: str) -> list[list[str]]:
    return [row.split() for row in re.split(r"[|\n]", table) if row.strip()]


def test_the_right_lemma_is_always_among_those_of_a_form():
    missed = {
        form: sorted(lemmas_of(form))
        for form, right in rows(READINGS)
        if not lemmas_of(form) >= set(right.split(","))
    }
    assert missed == {}
    assert len(rows(READINGS)) > 400


def test_few_lemmas_are_wrong():
    found = [len(lemmas_of(form) - {form}) for form, _ in rows(READINGS)]

    assert sum(found) / len(found) < 1.0


def test_other_words_are_kept_apart():
    confused = [(a, b) for a, b in rows(APART) if b in lemmas_of(a)]

    assert confused == []


@pytest.mark.parametrize("pair", rows(PLURALS))
def test_a_plural_shares_every_lemma_of_its_singular(pair: list[str]):
    singular, plural = pair
    assert lemmas_of(singular) & lemmas_of(plural)
    if plural != "leaves":  # also of the verb to leave
        assert unit_of(plural) == unit_of(singular) == singular


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("leaves", {"leaf", "leave"}),
        ("axes", {"axe", "axis"}),
        ("saw", {"saw", "see"}),
        ("running", {"run", "running"}),
        ("hopping", {"hop"}),
        ("hoping", {"hope"}),
        ("stopped", {"stop", "stopped"}),
        ("bigger", {"big", "bigger"}),
        ("darkest", {"dark"}),
        ("went", {"go"}),
        ("elf's", {"elf"}),
        ("men's", {"man"}),
    ],
)
def test_a_form_keeps_every_reading(form: str, expected: set[str]):
    assert lemmas_of(form) == expected


@pytest.mark.parametrize(
    "form",
    "flower tower forest paper corner bus glass grass lens news series species jeans paris "
    "wedding building evening lightning ceiling rugged wicked hundred skis".split(),
)
def test_a_look_alike_is_not_cut(form: str):
    cut = {form[:-1], form[:-2], form[:-3]} - {"ski"}
    assert not lemmas_of(form) & cut


@given(st.text(alphabet="abcdeginorstuy'-", min_size=1, max_size=12))
def test_lemmas_exist_and_a_unit_counts_what_its_form_counts(text: str):
    for surface in surfaces(text):
        form = normalize(surface)
        assert lemmas_of(form)
        assert lemmas_of(unit_of(form)) == lemmas_of(form) or "-" in form


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("dogs", "dog"),
        ("riding", "riding"),
        ("wore", "wear"),
        ("parked", "parked"),
        ("painting", "painting"),
        ("building", "building"),
        ("drawing", "drawing"),
        ("sitting", "sitting"),
        ("leaves", "leaves"),
        ("brightest", "bright"),
        ("👍🏽", "👍"),
        ("👩‍🚀", "👩‍🚀"),
        ("吹雪", "吹雪"),
        ("ice-dragons", "ice-dragon"),
    ],
)
def test_an_item_is_named_by_its_lemma_where_there_is_one(form: str, expected: str):
    assert unit_of(form) == expected


def test_function_words_are_closed_classes():
    assert all(map(is_function_word, "the of with and is don't it's they've we'll whose".split()))
    assert not any(map(is_function_word, "mine round red two dog dog's left mage".split()))


def test_hints_look_alike_and_are_known():
    known = Vocabulary({"pilot": 9, "plot": 1, "snow": 5, "the": 99, "ice": 3})

    assert [n.unit for n in known.nearest("pilto")] == ["pilot"]
    assert [n.unit for n in known.nearest("snowman")] == ["snow"]
    assert [(n.unit, n.n_images) for n in known.nearest("ice-wall")] == [("ice", 3)]
    assert known.nearest("zzz") == known.nearest("teh") == []
