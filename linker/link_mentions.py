"""Mentions to link: what is said of each, and the ways of saying it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from featurestore.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

#: What stands around the mention in a marked sentence.
OPEN, CLOSE = "[[", "]]"

#: The keys of a mention written as JSON.
KEYS = ("id", "sentence", "mention", "start", "end", "image", "candidates")


class MentionError(DataError):
    """A mention that cannot be linked as it is given."""


@dataclass(frozen=True, kw_only=True)
class MentionInput:
    """One mention in its sentence, its picture, and whom it may mean.

    Args:
        sentence: the text around the mention, mention included.
        start, end: its characters in the sentence, ``end`` exclusive.
        image: a picture file, or an open picture; None = there is none.
        candidates: ids or titles of entities, best first; None = found by title.
        id: of the caller's choice, handed back.
        where: names the mention in errors, such as ``file:line``.

    Raises:
        MentionError: the span is empty, blank or not inside the sentence, a text holds half
            characters, or the list of candidates is empty.
    """

    sentence: str
    start: int
    end: int
    image: Path | str | Image.Image | None = None
    candidates: Sequence[str] | None = None
    id: str | None = None
    where: str = ""

    def __post_init__(self) -> None:
        self._check_text("the sentence", self.sentence)
        self._check_text("the id", self.id or "")
        for name in self.candidates or ():
            self._check_text("a candidate", name)
        if not 0 <= self.start < self.end <= len(self.sentence):
            raise MentionError(
                f"no mention at characters {self.start} to {self.end} of a sentence of "
                f"{len(self.sentence)}",
                where=self.where,
                hint="start counts from 0, end is exclusive",
            )
        if not self.mention.strip():
            raise MentionError(
                f"the mention is blank: characters {self.start} to {self.end}",
                where=self.where,
                hint="it is a name in the sentence: … [[Jordan]] scored 63 …",
            )
        if self.candidates is not None and not len(self.candidates):
            raise MentionError(
                "the list of candidates is empty",
                where=self.where,
                hint="leave it out to find candidates by title",
            )

    def _check_text(self, what: str, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:  # JSON may hold half a character
            raise MentionError(f"{what} is no text: {error.reason}", where=self.where) from error

    @property
    def mention(self) -> str:
        return self.sentence[self.start : self.end]

    @classmethod
    def marked(
        cls,
        text: str,
        *,
        image: Path | str | Image.Image | None = None,
        candidates: Sequence[str] | None = None,
        id: str | None = None,
        where: str = "",
    ) -> Self:
        """From a sentence with the mention in double brackets: ``… [[Jordan]] scored 63 …``.

        Raises:
            MentionError: there is not exactly one [[mention]].
        """
        before, found, rest = text.partition(OPEN)
        mention, closed, after = rest.partition(CLOSE)
        if not (found and closed and mention) or OPEN in mention + after or CLOSE in before + after:
            raise MentionError(
                "a sentence needs exactly one mention in double brackets",
                where=where,
                hint="mark it: … [[Jordan]] scored 63 …",
            )
        return cls(
            sentence=before + mention + after,
            start=len(before),
            end=len(before) + len(mention),
            image=image,
            candidates=candidates,
            id=id,
            where=where,
        )


def mention_from_json(value: Any, *, folder: Path, where: str) -> MentionInput:
    """The mention that an object of :data:`KEYS` describes.

    ``start`` and ``end`` say where it stands; or ``mention`` does, by its first occurrence; or else
    the sentence has it in double brackets. Other keys are an error, so that a misspelt one shows.

    Args:
        folder: what a relative ``image`` is relative to.

    Raises:
        MentionError: no such object, a value of another type, or no such mention.
    """
    if not isinstance(value, Mapping):
        raise MentionError("not a JSON object", where=where, hint=f"keys: {', '.join(KEYS)}")
    unknown = [key for key in value if key not in KEYS]
    if unknown:
        raise MentionError(
            f"unknown key {unknown[0]!r}", where=where, hint=f"keys: {', '.join(KEYS)}"
        )
    image = _text(value, "image", where)
    candidates = _texts(value, where)
    sentence = _text(value, "sentence", where)
    if sentence is None:
        raise MentionError("no sentence", where=where, hint='{"sentence": "… [[mention]] …"}')
    id_ = value.get("id")
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    elif id_ is not None and not isinstance(id_, str):
        raise _mistyped("id", id_, "a string", where)
    picture = folder / image if image else None
    span = _span(value, sentence, where)
    if span is None:
        return MentionInput.marked(
            sentence, image=picture, candidates=candidates, id=id_, where=where
        )
    return MentionInput(
        sentence=sentence,
        start=span[0],
        end=span[1],
        image=picture,
        candidates=candidates,
        id=id_,
        where=where,
    )


def _span(value: Mapping[str, Any], sentence: str, where: str) -> tuple[int, int] | None:
    """Start and end as given, or of the first occurrence; None where the sentence marks them."""
    start, end = (value.get(key) for key in ("start", "end"))
    mention = _text(value, "mention", where)
    if start is not None or end is not None:
        for key, number in (("start", start), ("end", end)):
            if type(number) is not int:
                raise _mistyped(key, number, "a number of characters", where)
        if mention is not None and sentence[start:end] != mention:
            raise MentionError(
                f"characters {start} to {end} are {sentence[start:end]!r}, not {mention!r}",
                where=where,
                hint="give start and end, or mention",
            )
        return start, end  # type: ignore[return-value]
    if mention is None:
        return None
    first = sentence.find(mention)
    if first < 0 or not mention:
        raise MentionError(
            f"{mention!r} does not stand in its sentence",
            where=where,
            hint="give start and end, or mark the mention: … [[Jordan]] scored 63 …",
        )
    return first, first + len(mention)


def _text(value: Mapping[str, Any], key: str, where: str) -> str | None:
    text = value.get(key)
    if text is not None and not isinstance(text, str):
        raise _mistyped(key, text, "a string", where)
    return text


def _texts(value: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    names = value.get("candidates")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _mistyped("candidates", names, "a list of ids or titles", where)
    return tuple(names)


def _mistyped(key: str, value: object, expected: str, where: str) -> MentionError:
    return MentionError(f"{key} is {value!r}, not {expected}", where=where)
