"""The sample's vocabulary: topics, colours, made-up names, and the clauses its texts are built from.

Every list here is chosen here, because a reader of the demo should be able to tell from a sentence
whether its text gives the answer away. Words of a topic stand in no other list, so that a shared
topic word is evidence and a shared neutral word is not.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: kind of entity → the words that texts about such an entity use.
TOPICS: dict[str, tuple[str, ...]] = {
    "river": ("water", "boats", "bank", "bridge", "flood", "ferry", "fish", "current"),
    "country": ("border", "embassy", "treaty", "flag", "census", "president", "coin", "passport"),
    "singer": ("album", "stage", "chorus", "tour", "microphone", "melody", "concert", "fans"),
    "player": ("match", "goal", "coach", "league", "stadium", "transfer", "season", "injury"),
    "painter": ("canvas", "gallery", "brush", "portrait", "sketch", "museum", "easel", "pigment"),
    "ship": ("harbour", "deck", "captain", "voyage", "anchor", "hull", "sailors", "mast"),
    "castle": ("tower", "moat", "siege", "wall", "duke", "ruins", "gate", "armour"),
    "planet": ("orbit", "probe", "crater", "telescope", "astronomers", "moon", "gravity", "comet"),
    "company": ("shares", "factory", "customers", "profit", "warehouse", "merger", "brand", "staff"),
    "language": ("grammar", "verbs", "dialect", "speakers", "alphabet", "dictionary", "vowels", "accent"),
    "bird": ("nest", "feathers", "wings", "eggs", "migration", "song", "beak", "flock"),
    "mountain": ("summit", "climbers", "snow", "ridge", "glacier", "slope", "camp", "peak"),
    "film": ("director", "actors", "scene", "cinema", "screenplay", "premiere", "camera", "sequel"),
    "train": ("station", "rails", "passengers", "platform", "engine", "tunnel", "ticket", "carriage"),
    "bishop": ("church", "sermon", "diocese", "monks", "chapel", "prayer", "relic", "abbey"),
    "general": ("army", "battle", "troops", "retreat", "regiment", "cannon", "victory", "war"),
    "chemist": ("laboratory", "acid", "reaction", "compound", "molecule", "vapour", "crystal", "metal"),
    "poet": ("verses", "rhyme", "stanza", "anthology", "ballad", "lyric", "editor", "ode"),
    "dish": ("sauce", "recipe", "kitchen", "spice", "rice", "onions", "oven", "flavour"),
    "game": ("board", "dice", "rules", "cards", "puzzle", "score", "level", "pawn"),
    "school": ("pupils", "teachers", "classroom", "exam", "library", "lessons", "campus", "desk"),
    "island": ("beach", "lagoon", "coral", "palms", "reef", "volcano", "cove", "tide"),
    "car": ("wheels", "motor", "racing", "gearbox", "driver", "brakes", "roof", "diesel"),
    "storm": ("wind", "rain", "damage", "coast", "shelter", "lightning", "forecast", "hail"),
}  # fmt: skip
KINDS = tuple(TOPICS)

#: colour word → RGB; far apart, so that a mean of a picture tells which ones it holds.
COLOURS: dict[str, tuple[int, int, int]] = {
    "crimson": (205, 25, 45),
    "amber": (245, 175, 30),
    "emerald": (20, 150, 65),
    "azure": (35, 105, 230),
    "violet": (130, 45, 185),
    "ivory": (242, 238, 220),
    "charcoal": (42, 42, 50),
    "turquoise": (40, 205, 200),
}
PATTERNS = ("plain", "striped", "chequered", "dotted")
SHAPES = ("disc", "square", "triangle", "ring", "cross")

#: What a sentence talks about when it tells nothing of its entity.
NEUTRAL = (
    "morning", "evening", "picture", "people", "visitor", "report", "story", "year", "town",
    "week", "letter", "minute", "article", "friend", "visit", "note", "street", "house", "child",
    "question", "answer", "corner", "table", "chair", "window", "garden", "market", "paper",
    "number", "list", "page", "hand",
)  # fmt: skip

# Clauses with two slots; {a} and {b} take topic words or neutral words, so that an informative
# sentence and an uninformative one differ in nothing else.
LEADS = (
    "in the {a} of the {b}",
    "after the {a} and the {b}",
    "next to the {a} with the {b}",
    "before any {a} or {b}",
)
MAINS = (
    "the {a} and the {b} of {name} drew a crowd",
    "{name} is shown here with the {a} and the {b}",
    "the {a} stood by the {b} of {name}",
    "we found {name} behind the {a} and the {b}",
    "this is {name} with its {a} and its {b}",
)
FOLLOWS = (
    "the {a} was as old as the {b}",
    "nobody saw the {a} without the {b}",
    "some {a} was left near the {b}",
    "they spoke of the {a} and the {b}",
    "the {b} followed the {a}",
)
OPENING = "{name} is a {kind} known for its {a} and its {b}"
EMBLEM = "its emblem shows the {figure} {shape} on {pattern} {ground}"

# Syllables of names. Starts and middles end in a vowel and every syllable begins with one
# consonant, so a name splits in one way only and no two codes spell the same name.
_STARTS = (
    "Ba", "Be", "Bo", "Da", "De", "Du", "Fa", "Fe", "Ga", "Go", "Ha", "Ho", "Ja", "Ju", "Ka", "Ke",
    "Ko", "La", "Le", "Lu", "Ma", "Me", "Mo", "Na", "Ne", "No", "Pa", "Pe", "Ra", "Ro", "Sa", "Se",
    "Ta", "To", "Va", "Ve", "Vo", "Za", "Zo", "Ó", "É",
)  # fmt: skip
_MIDDLES = (
    "ba", "de", "di", "fi", "ga", "go", "ki", "la", "lo", "me", "mo", "na", "ne", "pa", "re", "ri",
    "sa", "ta", "to", "vi", "zu",
)  # fmt: skip
_ENDS = (
    "bar", "bin", "cas", "dan", "del", "dor", "fan", "fel", "gan", "gor", "hal", "kas", "ker",
    "lan", "len", "lis", "lor", "mar", "men", "min", "mor", "nas", "nor", "pal", "ran", "ren",
    "ris", "ron", "sal", "sen", "tan", "tel", "tis", "tor", "van", "vel", "vis", "zan", "lén", "rão",
)  # fmt: skip


def name_syllables(index: int, count: int) -> list[str]:
    """The syllables of name ``index`` of ``count`` names; joined they are the name, all distinct.

    As few middle syllables as ``count`` names need. Neighbouring indices get unlike names.
    """
    ends, middles = len(_ENDS), len(_MIDDLES)
    between = 0
    while (capacity := len(_STARTS) * ends * middles**between) < count:
        between += 1
    # 7919 is a prime that divides no list's length: the step visits every code exactly once.
    code = index * 7919 % capacity
    code, end = divmod(code, ends)
    inner = []
    for _ in range(between):
        code, middle = divmod(code, middles)
        inner.append(_MIDDLES[middle])
    return [_STARTS[code], *inner, _ENDS[end]]


def name(index: int, count: int) -> str:
    """Name ``index`` of ``count`` distinct made-up names, such as "Kaloren"."""
    return "".join(name_syllables(index, count))


def quiet_words() -> list[str]:
    """The words of the clauses themselves, which carry no meaning; sorted, and capitalised too."""
    clauses = " ".join((*LEADS, *MAINS, *FOLLOWS, OPENING, EMBLEM))
    found = {word for word in clauses.split() if "{" not in word}
    return sorted(found | {word.capitalize() for word in found})


def families() -> list[set[str]]:
    """Words of like meaning: a kind with the words of its topic; capitalised too."""
    topics = [{kind, *topic} for kind, topic in TOPICS.items()]
    return [topic | {word.capitalize() for word in topic} for topic in topics]


def word_pieces() -> list[str]:
    """Every piece the sample's texts are made of: words, then name syllables ("##" continues one)."""
    meaning = {*NEUTRAL, *COLOURS, *PATTERNS, *SHAPES, *KINDS}
    for topic in TOPICS.values():
        meaning.update(topic)
    meaning |= {word.capitalize() for word in meaning}
    return [
        *quiet_words(),
        *sorted(meaning),
        *_STARTS,
        *(f"##{syllable}" for syllable in sorted({*_MIDDLES, *_ENDS})),
    ]


def marks() -> list[str]:
    """Single characters that pieces may fall back to: printable ASCII and Latin-1 letters."""
    single = [chr(code) for code in (*range(33, 127), *range(0xC0, 0x100))]
    return [*single, *(f"##{mark}" for mark in single if mark.isalnum())]


@lru_cache(maxsize=1)
def piece_ids() -> dict[str, int]:
    """Piece → number, for every piece of the sample's texts."""
    return {piece: number for number, piece in enumerate(dict.fromkeys([*word_pieces(), *marks()]))}


def tokenize(text: str) -> list[int]:
    """Numbers of the word pieces of ``text``, no [CLS] or [SEP]: what the tiny BERT would make.

    Words and marks apart, then the longest piece that fits, again and again.
    """
    words = re.findall(r"[^\W_]+|[^\w\s]|_", text)
    return [number for word in words for number in _pieces_of(word)]


@lru_cache(maxsize=65_536)
def _pieces_of(word: str) -> tuple[int, ...]:
    known, found, start = piece_ids(), [], 0
    while start < len(word):
        lead = "##" if start else ""
        stop = next(
            stop for stop in range(len(word), start, -1) if lead + word[start:stop] in known
        )
        found.append(known[lead + word[start:stop]])
        start = stop
    return tuple(found)
