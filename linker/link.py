"""Link mentions of your own with a finished run.

    from linker.link import Linker, MentionInput

    with Linker.from_run("runs/drin") as linker:
        mention = MentionInput.marked("Then [[Jordan]] scored 63 points.", image="photo.jpg")
        (linked,) = linker.link([mention], top=5)
        print(linked.answers[0].title, linked.answers[0].score)

Features are made on the fly by the encoders that made the run's store, candidates come from its
titles or are given, and the network sees nothing else: protocol ``strict``, whatever the run was
trained with, because nobody knows the gold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from featurestore import Table
from featurestore.encoders.suite import Encoders
from featurestore.errors import DrinFsError
from linker.config import Device, TrainConfig
from linker.config_text import read_config
from linker.data import BatchReader
from linker.job import Job, prepare_job
from linker.link_candidates import CandidateFinder
from linker.link_encoders import EncoderChoice, load_encoders, parts_for
from linker.link_features import FreshMentions, MentionEncoder
from linker.link_mentions import MentionError, MentionInput
from linker.machine import autocast
from linker.online_network import OnlineNetwork
from linker.run_folder import RunFolder
from linker.store_identity import open_recorded_store
from linker.trained import trained_network

__all__ = ["Answer", "EncoderChoice", "Linked", "Linker", "MentionError", "MentionInput"]

#: Mentions encoded and scored together (chosen here: the batch size of the papers).
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One candidate as an answer.

    ``id``, ``title``, ``description``: of the entity; None where the store has none. ``score``: the
    model's, a cosine for all that there are. ``rank``: 1 = best. ``position``: place among the
    candidates before they were scored, from 1.
    """

    id: str
    title: str | None
    description: str | None
    score: float
    rank: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Linked:
    """A mention and its answers, best first.

    ``candidates``: how many were scored. ``picture``: ``ok``; ``not given``, ``missing``, ``broken``
    or ``too small``: the default picture stood for it; ``not read``: the model reads no pictures.
    ``notes``: what else one should know of this mention.
    """

    mention: MentionInput
    answers: tuple[Answer, ...]
    candidates: int
    picture: str
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without the sentence."""
        mention = self.mention
        return {
            "id": mention.id,
            "mention": mention.mention,
            "start": mention.start,
            "end": mention.end,
            "picture": self.picture,
            "candidates": self.candidates,
            "answers": [asdict(answer) for answer in self.answers],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Tables:
    """A store's entities with new mentions."""

    entities: Table
    mentions: FreshMentions


class Linker:
    """A trained network with everything that it needs to answer for a mention.

    ``notes``: what one should know of all its answers, one sentence each.
    """

    def __init__(
        self,
        *,
        job: Job,
        network: nn.Module,
        encoder: MentionEncoder,
        finder: CandidateFinder,
        notes: Sequence[str],
    ) -> None:
        self.store = job.store
        self.notes = list(notes)
        self._job = job
        self._network = network
        self._encoder = encoder
        self._finder = finder

    @classmethod
    def from_run(
        cls,
        run: str | os.PathLike[str],
        *,
        store: str | os.PathLike[str] | None = None,
        other_store: bool = False,
        device: Device | None = None,
        encoders: EncoderChoice | Encoders | None = None,
        candidates: int | None = None,
    ) -> Self:
        """Load the best weights of a run, its store, and the encoders that its model needs.

        Args:
            run: the folder of a finished run.
            store: where its store is now; by default where it was.
            other_store: allow a store that the run was not trained from.
            device: of network and encoders; by default the run's.
            encoders: which to load, if not those that the store recorded; or loaded ones, which are
                taken as they are.
            candidates: entities found by title for a mention, at most; by default as many as the run
                saw of each list.

        Raises:
            RunError: no finished run, or another store.
            StoreError: the store is not where it was.
            FieldMissing: the store lacks what the model, or a new mention, needs.
            EncoderError: an encoder cannot be loaded, or is not the one that made the store.
        """
        folder = RunFolder(run)
        config, environment = read_config(folder.read_config()), folder.read_environment()
        opened = open_recorded_store(environment["store"], given=store, other_store=other_store)
        here = {"device": device or config.device, "candidates": None}  # lists are made here
        job = prepare_job(opened, config.model_copy(update=here))
        job.check_same_encoder(environment)
        fields = frozenset(
            path.removeprefix("mentions/")
            for path in job.match.paths.values()
            if path.startswith("mentions/")
        )
        notes = _notes(config)
        if not isinstance(encoders, Encoders):
            encoders, more = load_encoders(
                opened,
                parts_for(fields),
                choice=encoders or EncoderChoice(),
                device=job.device.type,  # type: ignore[arg-type]
            )
            notes += more
        seen = config.candidates or opened.width("mentions/candidates")
        return cls(
            job=job,
            network=trained_network(job, folder),
            encoder=MentionEncoder(store=opened, encoders=encoders, fields=fields),
            finder=CandidateFinder(opened, count=candidates or seen),
            notes=notes,
        )

    def link(self, mentions: Iterable[MentionInput], *, top: int = 5) -> list[Linked]:
        """The answers for each mention, in order, ``top`` of them at most.

        Raises:
            UnknownId: a given candidate is no entity.
            FieldMissing: candidates are to be found by title, and the store has none.
        """
        return list(self.stream(mentions, top=top))

    def stream(self, mentions: Iterable[MentionInput], *, top: int = 5) -> Iterator[Linked]:
        """As :meth:`link`, some mentions at a time: for more of them than memory holds."""
        waiting = iter(mentions)
        while chunk := list(islice(waiting, BATCH)):
            yield from self._link(chunk, top)

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _link(self, mentions: Sequence[MentionInput], top: int) -> Iterator[Linked]:
        candidates = self._finder.rows(mentions)
        fresh = self._encoder.encode(mentions, candidates)
        scores = self._scores(fresh, candidates)
        orders = [np.argsort(-own, kind="stable")[:top] for own in scores]
        words = self._words(
            np.concatenate([own[order] for own, order in zip(candidates, orders, strict=True)])
        )
        for place, (mention, order) in enumerate(zip(mentions, orders, strict=True)):
            answers = [
                _answer(next(words), scores[place][each], rank=rank, position=each + 1)
                for rank, each in enumerate(order.tolist(), start=1)
            ]
            yield Linked(
                mention=mention,
                answers=tuple(answers),
                candidates=len(candidates[place]),
                picture=fresh.pictures[place],
                notes=tuple(_mention_notes(fresh, place, len(candidates[place]))),
            )

    def _scores(self, fresh: FreshMentions, candidates: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each mention the scores of its candidates.

        Mentions with equally many candidates are scored together: padding lists to one length would
        let a mention's scores depend on who else is asked for.
        """
        counts = np.array([len(own) for own in candidates])
        job, tables = self._job, _Tables(self.store.entities, fresh)
        texts = None
        if job.online is not None:
            # A full batch is likely not the last one: then entities are worth keeping.
            few = len(candidates) < BATCH
            texts = job.online.reader(job.match.made, with_entities=few, tables=tables)
        reader = BatchReader(store=tables, paths=job.match.paths, protocol="strict", texts=texts)
        if texts and not texts.with_entities and isinstance(self._network, OnlineNetwork):
            self._network.text.tabulate(texts, np.unique(np.concatenate(candidates)))
        scores = [np.empty(0, np.float32)] * len(counts)
        for count in np.unique(counts[counts > 0]):
            rows = np.flatnonzero(counts == count)
            batch = reader[rows].to(job.device).float()
            with torch.inference_mode(), autocast(job.device, job.config.precision):
                scored = self._network(batch).float().cpu().numpy()
            for row, own in zip(rows.tolist(), scored, strict=True):
                scores[row] = own
        if any(np.isnan(own).any() for own in scores):
            raise DrinFsError("the model scores NaN", hint="evaluate the run: drin-fs evaluate RUN")
        return scores

    def _words(self, rows: np.ndarray) -> Iterator[tuple[str, str | None, str | None]]:
        """Id, title and description of entities, in order."""
        entities = self.store.entities
        title, description = (
            entities.gather(name, rows) if name in entities else [None] * len(rows)
            for name in ("title", "description")
        )
        return zip(entities.ids(rows), title, description, strict=True)


def _answer(
    words: tuple[str, str | None, str | None], score: np.float32, *, rank: int, position: int
) -> Answer:
    id_, title, description = words
    return Answer(
        id=id_,
        title=title,
        description=description,
        score=float(score),
        rank=rank,
        position=position,
    )


def _notes(config: TrainConfig) -> list[str]:
    if config.protocol == "strict":
        return []
    return [
        f"the run was trained under protocol {config.protocol}; linking is strict: nobody knows "
        "the gold"
    ]


def _mention_notes(fresh: FreshMentions, place: int, candidates: int) -> Iterator[str]:
    if not candidates:
        yield "no title is like the mention: there are no candidates"
    if fresh.columns.get("span_empty", np.zeros(place + 1))[place]:
        yield "no token that is read belongs to the mention: [CLS] stands for it"
