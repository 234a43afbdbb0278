"""What the text encoders read of an entity: the text of the release, its title, or its description."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from featurestore.errors import ConfigError
from featurestore.options import EntityText
from featurestore.sources.rawtables import RawEntities


def with_texts(entities: RawEntities, form: EntityText, notes: list[str]) -> RawEntities:
    """The entities with the texts of one form as those that are encoded.

    The title stands for a description that there is not.

    Args:
        notes: is told how many are read by their title for want of a description.

    Raises:
        ConfigError: descriptions are asked for, and there is none.
    """
    if form == "attr":
        return entities
    if form == "name":
        return replace(entities, texts=entities.titles)
    if form == "brief":
        pairs = zip(entities.descriptions, entities.titles, strict=True)
        texts = [description or title for description, title in pairs]
        bare = entities.descriptions.count("")
        if bare == len(texts):
            raise ConfigError(
                "no entity of the dataset has a description",
                where="--entity-text brief",
                hint="use --entity-text attr or name",
            )
        if bare:
            notes.append(f"{bare} of {len(texts)} entities are read by their title: no description")
        return replace(entities, texts=texts)
    assert_never(form)
