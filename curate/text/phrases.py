"""Words of a prompt that name one thing together: polar bear, fire truck."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise

from curate.text import bindings, tokens, wordnet
from curate.text.lemmas import is_function_word, lemmas_of, read_list, unit_of

MIN_TOGETHER = 5  # images that show two nouns side by side before captions can make them a phrase
MATERIALS = frozenset(
    "brass brick bronze cardboard ceramic clay concrete copper cotton crystal denim fabric fur"
    " glass gold granite iron jade lace leather linen marble metal oak paper pine plastic porcelain"
    " rubber sand satin silk silver steel stone straw suede tin velvet wicker wire wool".split()
)
MIN_COHESION = 0.25  # least cosine: images with both side by side / geometric mean of each one's
HyphenPart = tuple[
    str, int, int
]  # what stands between hyphens; positions of its word: first, past last
FoundPhrase = tuple[int, int, str]
# Entries of the lexicon that a prompt means word by word.
LITERAL_PHRASES = frozenset(
    "beam of light|bed of flowers|bee fly|bright spot|coat of paint|cup of tea"
    "|electronic device|field event|first step|floral arrangement|hind leg|human body"
    "|identical twin|lame duck|left hand|loaf of bread|loved one|mouse click|piece of cake"
    "|piece of furniture|piece of paper|pyramidal tent|rainy day|riding horse|right hand"
    "|rock squirrel|rotten apple|running dog|silver plate|silver spoon|sitting duck"
    "|soft ice cream|top dog|triangular prism|west side|east side".split("|")
)
# A word that describes makes a phrase with a noun only in KEPT: a dark horse is dark.
DESCRIPTIVE_ADJECTIVES = frozenset(
    "abstract amorphous angry artificial bad bare bearded big blessed blind broken busy calm"
    " cheap clean close closed clumsy cold common complex concave crazy creative crushed curved"
    " damp dark dead deaf deep dirty domestic dry dumb early easy empty evil extended exterior"
    " external extreme fair false familiar famous fancy fast fat favorite female fictional fine"
    " fixed flat foolish foreign formal fresh friendly frozen full funny gay gentle giant good"
    " grand great happy hard heavy high honest hot huge hypothetical idle illegal imaginary"
    " important infernal inner interior large legendary light little living long loose lost low"
    " magic male mechanical mighty mobile modern mythical narrow natural new nice odd old open"
    " orderly ordinary outdoor outer pale perfect plain pleasant poor pure queer quick rare raw"
    " real rich rising rough round royal sacred safe sharp short sick silent simple slender"
    " slow small smart smooth soft solid sour special square stable straight strange strong"
    " stupid sweet tall thermal thick thin tiny tough true ugly unusual upright urban vertical"
    " violent visible warm weak wealthy wet wide wild wise wooden young".split()
)
ADJECTIVE_PHRASES = frozenset(
    "artificial intelligence|bad egg|big bang|big ben|big dipper|big toe|big top|blind date"
    "|blind spot|cold cut|common fig|dark matter|dead end|dead sea|deep space|domestic cat"
    "|dry dock|dry ice|easy chair|fancy dress|fast food|fine art|flat cap|flat iron|flat tire"
    "|flat tyre|frozen yogurt|full house|full moon|giant clam|giant panda|giant sequoia"
    "|giant squid|giant tortoise|grand canyon|grand piano|great ape|great barrier|great dane"
    "|great pyramid|great wall|hard disk|hard drive|hard hat|heavy metal|high chair|high heel"
    "|high jump|high school|high tide|high wire|hot air|hot chocolate|hot dog|hot plate|hot pot"
    "|hot rod|hot sauce|hot spring|hot springs|hot tub|inner ear|inner tube|interior decorator"
    "|interior design|interior designer|light bulb|light meter|light pen|light saber|light show"
    "|light switch|light year|little finger|little league|little toe|living dead|living room"
    "|long johns|long jump|low tide|magic carpet|magic circle|magic lantern|magic mushroom"
    "|magic square|magic wand|mobile home|mobile phone|modern art|natural gas|natural history"
    "|new england|new moon|new orleans|new year|new york|new zealand|old faithful|old glory"
    "|open air|outer space|raw material|royal flush|safe house|short circuit|slow cooker"
    "|smart phone|smart watch|soft drink|sour cherry|sour cream|special effect|square dance"
    "|straight razor|sweet corn|sweet pea|sweet pepper|sweet potato|sweet william|upright piano"
    "|wet suit|wild boar|wild card|wild rice|wild west|wise men".split("|")
)
# A colour with a word is a phrase only in these: a green frog is a frog that is green.
COLOUR_PHRASES = {
    "black": "bean bear currant forest hole jack mamba olive panther pepper pudding"
    " rhinoceros swan tea vulture walnut whale widow",
    "blue": "cheese crab jay jeans marlin shark tit whale",
    "brown": "bear rice sugar",
    "gold": "dust foil leaf medal mine rush",
    "golden": "eagle fleece gate hamster oriole pheasant retriever",
    "gray": "fox jay matter whale wolf",
    "green": "bean beret mamba olive onion pea pepper salad tea thumb turtle woodpecker",
    "orange": "grove juice marmalade peel soda tree zest",
    "purple": "heart martin onion",
    "red": "admiral algae cabbage cedar cross currant deer dwarf fox giant grouse maple meat"
    " mullet oak onion panda pepper planet sea setter snapper squirrel tide wine wolf",
    "silver": "birch dollar fir fox lining medal mine screen willow",
    "white": "ash birch bread cake chocolate dwarf meat noise oak pelican pepper pine"
    " rhinoceros rice shark stork water whale wine",
    "yellow": "fever jacket pages",
}
_COLOUR_PHRASES = {c: frozenset(words.split()) for c, words in COLOUR_PHRASES.items()}
_COLOUR_PHRASES["grey"] = _COLOUR_PHRASES["gray"]


def find_phrases(
    words: Sequence[str], *, own: frozenset[str], count_together: Callable[[str], int] | None
) -> list[FoundPhrase]:
    """The phrases in a run of words, as (first, past last, unit); none overlaps another.

    A phrase is an entry of the lexicon, one of the user's own, or two nouns that captions mostly
    show side by side. Its last word may stand in any inflection, and hyphens may stand for
    blanks. The longest wins, then the user's, then the first.

    Args:
        words: normal forms that follow each other without punctuation between.
        own: the user's phrases, in lower case, with blanks.
        count_together: the number of images whose captions show a word ("fur"), or show words side
            by side ("fur bat"); None without captions.
    """
    parts = _hyphen_parts_of(words)
    forms = [form for form, *_ in parts]
    ranked = [
        (-len(phrase), not own_phrase, forms[n : n + len(phrase)] != list(phrase), n, phrase)
        for n in range(len(parts))
        for phrase, own_phrase in _entries(forms[n : n + 2], own)
        if _matches_at(parts, n, phrase)
    ]
    chosen = _without_overlaps(
        (parts[n][1], parts[n + len(phrase) - 1][2], " ".join(phrase))
        for *_, n, phrase in sorted(ranked)
    )
    if count_together is not None:
        taken = {place for first, past, _ in chosen for place in range(first, past)}
        chosen += _without_overlaps(_collocations(words, taken, count_together))
    return sorted(chosen)


def _hyphen_parts_of(words: Sequence[str]) -> list[HyphenPart]:
    return [(part, n, n + 1) for n, word in enumerate(words) for part in tokens.hyphen_parts(word)]


def _entries(forms: Sequence[str], own: frozenset[str]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Phrases that may begin with these two forms, and whether they are the user's."""
    for first in dict.fromkeys((forms[0], unit_of(forms[0]), "-".join(forms))):
        for phrase in _by_first_word(own).get(first, ()):
            yield phrase, True
        for phrase in _table_phrases(first):
            yield phrase, False


@cache
def _table_phrases(first: str) -> tuple[tuple[str, ...], ...]:
    """Phrases of the lexicon that begin with this word."""
    split = (
        tuple(p for w in entry for p in tokens.hyphen_parts(w))
        for entry in wordnet.phrases_beginning_with(first)
    )
    return (*_by_first_word(_read_compounds()).get(first, ()), *filter(_is_one_thing, split))


def _is_one_thing(phrase: tuple[str, ...]) -> bool:
    """Whether an entry of the lexicon names what its words do not name by themselves."""
    first, last = phrase[0], phrase[-1]
    if is_function_word(first) or is_function_word(last):
        return False
    if len(phrase) == 2 and first in bindings.COLOURS:
        return last in _COLOUR_PHRASES.get(first, ())
    if len(phrase) == 2 and first in DESCRIPTIVE_ADJECTIVES:
        return " ".join(phrase) in ADJECTIVE_PHRASES
    return " ".join(phrase) not in LITERAL_PHRASES and phrase[1:2] != ("and",)


@cache
def _read_compounds() -> frozenset[str]:
    return frozenset(read_list("compounds.txt"))


@lru_cache(maxsize=4)
def _by_first_word(own: frozenset[str]) -> Mapping[str, list[tuple[str, ...]]]:
    found = defaultdict(list)
    for phrase in sorted(own):
        words = tuple(phrase.replace("-", " ").split())
        if len(words) > 1:
            found[words[0]].append(words)
    return found


def _matches_at(parts: Sequence[HyphenPart], start: int, phrase: Sequence[str]) -> bool:
    """Whether the phrase stands there, from the start of a word to the end of a word."""
    end = start + len(phrase)
    if end > len(parts):
        return False
    whole = start == 0 or parts[start - 1][1] != parts[start][1]
    whole = whole and (end == len(parts) or parts[end - 1][1] != parts[end][1])
    *inner, last = (part for part, *_ in parts[start:end])
    return (
        whole
        and all(
            form == one or unit_of(form) == one
            for form, one in zip(inner, phrase[:-1], strict=True)
        )
        and _is_noun_form(last, phrase[-1])
    )


def _is_noun_form(form: str, noun: str) -> bool:
    """Whether the form is the noun, its plural or its possessive, but not a verb's (bearing)."""
    return form == noun or (noun in lemmas_of(form) and not form.endswith(("ing", "ed")))


def _without_overlaps(found: Iterable[FoundPhrase]) -> list[FoundPhrase]:
    """Those that overlap none before them."""
    chosen: list[FoundPhrase] = []
    taken: set[int] = set()
    for first, past, unit in found:
        if taken.isdisjoint(range(first, past)):
            chosen.append((first, past, unit))
            taken.update(range(first, past))
    return chosen


def _collocations(
    words: Sequence[str], taken: set[int], together: Callable[[str], int]
) -> list[FoundPhrase]:
    """Pairs of nouns, in no other phrase, that captions mostly show side by side; closest first.

    An adjective with its noun is a binding, however often captions show the two; and what a thing
    is made of says no more together with it than apart (*iron armor*).
    """
    found = []
    for n, (a, b) in enumerate(pairwise(words)):
        nouns = bindings.is_noun(a) and bindings.is_noun(b) and unit_of(a) not in MATERIALS
        if taken & {n, n + 1} or not nouns:
            continue
        unit = f"{a} {unit_of(b)}"
        both = together(unit)
        if both >= MIN_TOGETHER:
            cosine = both / (together(a) * together(unit_of(b))) ** 0.5
            if cosine >= MIN_COHESION:
                found.append((-cosine, n, unit))
    return [(n, n + 2, unit) for _, n, unit in sorted(found)]
