"""The sample as raw WikiDiverse, with the troubles of the real one (DATASETS.md, "Raw WikiDiverse")."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from featurestore.progress import Progress
from featurestore.sources.sample_pictures import draw_all, picture_states
from featurestore.sources.sample_world import World, stream

_WIKI = "https://en.wikipedia.org/wiki/"
_UPLOADS = "https://upload.wikimedia.org/wikipedia/commons/a/ab/"
_TOPICS = ("sports", "politics", "science", "world")
_PEOPLE = {"singer", "player", "painter", "bishop", "general", "chemist", "poet"}
_PLACES = {"river", "country", "castle", "mountain", "island", "school"}

#: What may be wrong with a gold URL; "lower" and "spaces" are found by normalised titles only.
GoldState = Literal["clean", "NIL", "hhttps", "bracket", "lower", "spaces"]
_ODD_GOLDS: tuple[GoldState, ...] = ("NIL", "hhttps", "bracket", "lower", "spaces")
#: Share of golds in each odd state; chosen here, at least one (a tenth of the release is NIL or
#: unmatched, which would drown the demo's figures).
_ODD_SHARE = 0.01


#: Every so manieth entity has a slash in its title; chosen here.
_EVERY = 25
#: The one entity with a slash that its URLs do not encode: its title ends up as what follows it.
_BARE_SLASH = 7

_Pictures = list[tuple[str, PictureState]]  # URL, and what stands at it


def write_wikidiverse(root: Path, world: World, *, progress: Progress) -> dict[str, int]:
    """Write the dataset below ``root``; what troubles are planted, and how often each."""
    golds = gold_states(world)
    mention_pictures = _mention_pictures(world)
    _write_mentions(root, world, mention_pictures, golds)
    without_brief = _write_descriptions(root, world)
    entity_pictures = [list(_entity_pictures(world, *each)) for each in _entity_states(world)]
    _write_picture_lists(root, world, entity_pictures)
    listed = [(e, *each) for e, urls in enumerate(entity_pictures) for each in urls]
    entities = draw_all(
        kind="entity",
        themes=[world.theme_of(entity) for entity, _, _ in listed],
        stems=[_stem(root, url) for _, url, _ in listed],
        states=[state for _, _, state in listed],
        seed=world.seed,
        progress=progress,
    )
    mentions = draw_all(
        kind="mention",
        themes=[world.theme_of(int(world.gold[row])) for row in mention_pictures],
        stems=[_stem(root, url) for url, _ in mention_pictures.values()],
        states=[state for _, state in mention_pictures.values()],
        seed=world.seed,
        progress=progress,
    )
    lengths = (world.candidates != NOBODY).sum(1)
    return {
        "short candidate lists": int((lengths < world.candidates.shape[1]).sum()),
        "golds not retrieved": int((world.answer == world.candidates.shape[1]).sum()),
        **{f"gold URLs, {state}": golds.count(state) for state in _ODD_GOLDS},
        "entities without brief": without_brief,
        **mentions.troubles(),
        **entities.troubles(),
    }


def wiki_title(world: World, entity: int) -> str:
    """Title as in a Wikipedia URL: "Kaloren_(river)", now and then "Kaloren_(river/2)"."""
    kind = world.kind_of(entity)
    if entity % _EVERY == _BARE_SLASH:
        kind += "/2"
    return f"{world.name(entity)}_({kind})"


def gold_states(world: World) -> list[GoldState]:
    """What is wrong with each mention's gold URL."""
    states = np.full(world.mentions, "clean", dtype=object)
    places = stream(world.seed, "odd golds").permutation(world.mentions)
    each = max(1, round(_ODD_SHARE * world.mentions))
    for number, state in enumerate(_ODD_GOLDS):
        states[places[number * each : (number + 1) * each]] = state
    return states.tolist()


# mentions ---------------------------------------------------------------------------------------


def _write_mentions(
    root: Path, world: World, pictures: dict[int, tuple[str, PictureState]], golds: list[GoldState]
) -> None:
    """Every split twice: with the candidates, and without."""
    for split in SPLITS:
        items = []
        for row in world.rows_of(split).tolist():
            picture, _ = pictures[int(world.picture[row])]
            items.append(_item(world, row, picture, golds[row]))
        write_json(root / "candidates" / f"{split}_w_10cands.json", items)
        bare = [[*item[:7], *item[8:]] for item in items]
        write_json(root / "mentions" / f"{split}.json", bare)


def _item(world: World, row: int, picture_url: str, state: GoldState) -> list[Any]:
    """The 11 values of a mention, in the order of the release."""
    gold = int(world.gold[row])
    sentence, name = world.sentence(row), world.name(gold)
    start = sentence.index(name)
    end = start + len(name)
    candidates = [c for c in world.candidates[row].tolist() if c != NOBODY]
    return [
        sentence,
        picture_url,
        name,
        _type_of(world.kind_of(gold)),
        sentence[:start].split(),
        sentence[end:].split(),
        _gold_url(world, gold, state),
        [_url(world, candidate) for candidate in candidates],
        _TOPICS[gold % len(_TOPICS)],
        start,
        end,
    ]


def _type_of(kind: str) -> str:
    if kind in _PEOPLE:
        return "Person"
    if kind in _PLACES:
        return "Location"
    return "Organization" if kind == "company" else "Misc"


def _url(world: World, entity: int) -> str:
    return _WIKI + quote(wiki_title(world, entity), safe="/" if entity == _BARE_SLASH else "")


def _gold_url(world: World, gold: int, state: GoldState) -> str:
    title = wiki_title(world, gold)
    if state == "NIL":
        return "NIL"
    if state == "hhttps":
        return "h" + _url(world, gold)
    if state == "bracket":
        return _url(world, gold) + "]"
    if state == "lower":
        return _WIKI + quote(title[0].lower() + title[1:], safe="")
    if state == "spaces":
        return _WIKI + quote(title.replace("_", " "), safe="")
    return _url(world, gold)


# entities ---------------------------------------------------------------------------------------


def _write_descriptions(root: Path, world: World) -> int:
    """Briefs of the entities that each split refers to; the last entity has no description."""
    known = range(world.entities - 1)
    texts = {wiki_title(world, entity): world.description(entity) for entity in known}
    for split in SPLITS:
        rows = world.rows_of(split)
        used = np.union1d(world.candidates[rows], world.gold[rows]).tolist()
        titles = [wiki_title(world, entity) for entity in used if entity in known]
        briefs = {title: texts[title] for title in titles}
        write_json(root / "entities" / f"entity2brief_{split}.json", briefs)
    lines = (f"{title}@@@@{text}" for title, text in texts.items())
    write_lines(root / "entities" / "wikipedia_entity2desc_filtered.tsv", lines)
    return 1


def _write_picture_lists(root: Path, world: World, pictures: list[_Pictures]) -> None:
    lines = (
        f"{wiki_title(world, entity)}@@@@{'[AND]'.join(url for url, _ in urls)}"
        for entity, urls in enumerate(pictures)
        if urls
    )
    path = root / "entities" / "wikipedia_entity2imgs.tsv"
    write_lines(path, ["entity@@@@images", *lines])


# pictures ---------------------------------------------------------------------------------------


def _mention_pictures(world: World) -> dict[int, tuple[str, PictureState]]:
    """Mention row → URL and state of the picture that is its own."""
    owners = world.pictures.tolist()
    states = picture_states(len(owners), stream(world.seed, "mention pictures"))
    return {
        row: (_picture_url(f"Photo_of_{world.name(int(world.gold[row]))}_{row}", state, row), state)
        for row, state in zip(owners, states, strict=True)
    }


def _entity_states(world: World) -> Iterator[tuple[int, PictureState]]:
    return enumerate(picture_states(world.entities, stream(world.seed, "entity pictures")))


def _entity_pictures(
    world: World, entity: int, state: PictureState
) -> Iterator[tuple[str, PictureState]]:
    """What is listed for an entity: nothing, a picture, or one that cannot be used before it."""
    title = wiki_title(world, entity)
    if state == "missing" and entity % 2:
        return
    yield _picture_url(f"{title}_0", state, entity), state
    if state == "small":
        yield _picture_url(f"{title}_1", "jpg", entity), "jpg"


def _picture_url(name: str, state: PictureState, row: int) -> str:
    """URL of a picture; half of those kept as PNG are SVG drawings."""
    suffix = "jpg" if state != "png" else "svg" if row % 2 else "png"
    return f"{_UPLOADS}{quote(name, safe='')}.{suffix}"


def _stem(root: Path, url: str) -> Path:
    """File of a picture without its suffix: the MD5 of the URL's last part, still encoded."""
    name = url.rsplit("/", 1)[-1]
    return root / "images" / hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
