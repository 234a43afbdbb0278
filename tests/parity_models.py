"""How the recordings of each model are read: their options, and our names of their weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from featurestore.errors import ConfigError
from linker.models import model_class
from linker.models.base import Model, ModelConfig
from linker.models.drin import DrinConfig
from linker.models.ghmfc import GhmfcConfig
from linker.models.hiecoatt import HiecoattConfig
from linker.models.jmel import JmelConfig
from linker.models.melhi import MelhiConfig
from tests.parity_recordings import Mismatch, Recording

#: Heads of the recorded attentions: the one size that no array shows.
RECORDED_HEADS = 4
#: θ₁ and θ₂ of the recorded MEL-HI, which no array shows either.
RECORDED_THRESHOLDS = (0.0, 0.6)


def numbered(recording: Recording, prefix: str) -> int:
    """How many numbered modules follow ``prefix`` in the recorded names."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return len({found[1] for name in recording.weights if (found := pattern.match(name))})


# DRIN ----------------------------------------------------------------------------------------

#: Recorded name → our name of DRIN's weights, as patterns tried in this order.
DRIN_NAMES = (
    (r"vertex_encoder\.mention_text_encoder\.final_layer\.linear", "mention_text"),
    (
        r"vertex_encoder\.mention_text_encoder\.intermediate_layer\.transformer",
        "mention_text.encoder",
    ),
    (r"vertex_encoder\.entity_text_encoder\.final_layer", "entity_text"),
    (r"vertex_encoder\.mention_image_linear", "images.mi"),
    (r"vertex_encoder\.entity_image_linear", "images.ei"),
    (r"gcn_layers\.(\d+)\.layer_norm", r"graph.\1.norm"),
    (r"gcn_layers\.(\d+)", r"graph.\1"),
)


def drin_config(recording: Recording) -> DrinConfig:
    """DRIN's options, from the recorded weights where they show them and else from the name."""
    sentence = "vertex_encoder.mention_text_encoder"
    transformer = f"{sentence}.intermediate_layer.transformer.layers"
    names = recording.weights.keys()
    mention_text = "none"
    if f"{sentence}.final_layer.linear.weight" in names:
        mention_text = "linear"
    feedforward = recording.weights.get(f"{transformer}.0.linear1.weight")
    if feedforward is not None:
        mention_text = "transformer"
    entity_linear = "vertex_encoder.entity_text_encoder.final_layer.weight" in names
    return DrinConfig.model_validate(
        {
            "mention_text": mention_text,
            "entity_text": "linear" if entity_linear else "none",
            "layers": numbered(recording, "gcn_layers"),
            "edges": ("tt", "it") if "noedges" in recording.words else ("tt", "ti", "it", "ii"),
            "edge_update": "static" if "static" in recording.words else "dynamic",
            "edge_kind": "vector" if "gcn_layers.0.w_m.weight" in names else "scalar",
            "width": recording.weights["gcn_layers.0.w_h.weight"].shape[0],
            "transformer_layers": max(1, numbered(recording, transformer)),
            "transformer_heads": RECORDED_HEADS,
            "transformer_feedforward": 1 if feedforward is None else feedforward.shape[0],
            "transformer_dropout": 0.0,
        }
    )


# GHMFC ---------------------------------------------------------------------------------------

#: The parts of one cross attention.
_CROSS_NAMES = (
    ("a2b_attention", "across.attention"),
    ("a2b_ffn", "across.linear"),
    (r"layernorms\.0", "across.norm_read"),
    (r"layernorms\.1", "across.norm"),
    ("b2a_attention", "back.attention"),
    ("b2a_ffn", "back.linear"),
    (r"layernorms\.2", "back.norm_read"),
    (r"layernorms\.3", "back.norm"),
)
#: Where cross attentions stand: those of sentence and picture, or the only one.
_CROSSES = (
    (r"mention_encoder\.intermediate_layer\.t2v_attention", "mention.text_attention"),
    (r"mention_encoder\.intermediate_layer\.v2t_attention", "mention.image_attention"),
    (r"mention_encoder\.intermediate_layer", "mention"),
)
GHMFC_NAMES = (
    *((rf"{at}\.{part}", f"{ours}.{name}") for at, ours in _CROSSES for part, name in _CROSS_NAMES),
    (r"mention_encoder\.intermediate_layer\.text_linear", "mention.text"),
    (r"mention_encoder\.intermediate_layer\.image_linear", "mention.image"),
    (r"mention_encoder\.intermediate_layer\.score_linear", "mention.gate"),
    (r"mention_encoder\.intermediate_layer\.transformer", "mention"),
    (r"mention_encoder\.final_layer\.linear", "mention"),
    (r"entity_encoder\.final_layer", "entity_text"),
)


def ghmfc_config(recording: Recording) -> GhmfcConfig:
    """GHMFC's options, from the recorded weights where they show them and else from the name."""
    sentence = "mention_encoder.intermediate_layer"
    transformer = f"{sentence}.transformer.layers"
    weights = recording.weights
    feedforward = weights.get(f"{transformer}.0.linear1.weight")
    mention = "none"
    if f"{sentence}.text_linear.weight" in weights or f"{sentence}.a2b_ffn.weight" in weights:
        mention = "multimodal"
    elif feedforward is not None:
        mention = "transformer"
    elif "mention_encoder.final_layer.linear.weight" in weights:
        mention = "linear"
    entity = weights.get("entity_encoder.final_layer.weight")
    return GhmfcConfig.model_validate(
        {
            "mention": mention,
            "attention": "text" if f"{sentence}.a2b_ffn.weight" in weights else "bi",
            "pooling": "span" if "extract" in recording.words else "max",
            "maximum": "padded",
            "entity_text": "none" if entity is None else "linear",
            "width": None if entity is None else entity.shape[0],
            "heads": RECORDED_HEADS,
            "dropout": 0.0,
            "transformer_layers": max(1, numbered(recording, transformer)),
            "transformer_heads": RECORDED_HEADS,
            "transformer_feedforward": 1 if feedforward is None else feedforward.shape[0],
            "transformer_dropout": 0.0,
        }
    )


# MEL-HI --------------------------------------------------------------------------------------

MELHI_NAMES = (
    (r"image_map_text", "image"),
    (r"mention_encoder\.mention_lstm", "context"),
    (r"mention_encoder\.mention_final_map", "mention"),
    (r"entity_final_map", "entity"),
)


def melhi_config(recording: Recording) -> MelhiConfig:
    """MEL-HI's options."""
    text, image = RECORDED_THRESHOLDS
    return MelhiConfig(
        text_threshold=text,
        image_threshold=image,
        width=recording.weights["entity_final_map.weight"].shape[0],
    )


# JMEL and HieCoAtt: never recorded, only computed naively under our names --------------------

OWN_NAMES = (("", ""),)


def jmel_config(recording: Recording) -> JmelConfig:
    """JMEL's options."""
    return JmelConfig(width=recording.weights["entity.joint.weight"].shape[0])


def hiecoatt_config(recording: Recording) -> HiecoattConfig:
    """HieCoAtt's options."""
    parallel = "attentions.0.affinity.weight" in recording.weights
    return HiecoattConfig(
        attention="parallel" if parallel else "alternating",
        width=recording.weights["entity.weight"].shape[0],
        dropout=0.0,
    )


# every model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """How the recordings of one model are read."""

    config: Callable[[Recording], ModelConfig]
    names: tuple[tuple[str, str], ...]

    def our_name(self, recorded: str) -> str:
        for pattern, ours in self.names:
            if re.match(pattern, recorded):
                return re.sub(f"^{pattern}", ours, recorded)
        raise Mismatch(f"no counterpart is known for the weight {recorded}")


REFERENCES = {
    "drin": Reference(drin_config, DRIN_NAMES),
    "ghmfc": Reference(ghmfc_config, GHMFC_NAMES),
    "melhi": Reference(melhi_config, MELHI_NAMES),
    "jmel": Reference(jmel_config, OWN_NAMES),
    "hiecoatt": Reference(hiecoatt_config, OWN_NAMES),
}


def load_model(
    recording: Recording, *, config: ModelConfig | None = None
) -> tuple[Model, dict[str, str]]:
    """Our model with the recorded weights, and our name of every recorded weight.

    Args:
        config: the model's options, where they are not to be read from the recording.

    Raises:
        Mismatch: the model or one of its weights has no counterpart.
    """
    try:
        cls, _ = model_class(recording.model)
    except ConfigError as error:
        raise Mismatch(error.what) from error
    if recording.model not in REFERENCES:
        raise Mismatch(f"tests/parity_models.py does not know how {recording.model} was recorded")
    reference = REFERENCES[recording.model]
    model = cls(
        config=reference.config(recording) if config is None else config,
        text_width=recording.inputs["mention_text"].shape[-1],
        image_width=recording.inputs["mention_image"].shape[-1],
    )
    ours = dict(model.named_parameters())
    names = {recorded: reference.our_name(recorded) for recorded in recording.weights}
    if unset := ours.keys() - set(names.values()):
        raise Mismatch(f"not recorded: {', '.join(sorted(unset))}")
    with torch.no_grad():
        for recorded, name in names.items():
            if name not in ours:
                continue
            if ours[name].shape != recording.weights[recorded].shape:
                raise Mismatch(f"{recorded} has another shape than {name}")
            ours[name].copy_(recording.weights[recorded])
    return model.eval(), names
