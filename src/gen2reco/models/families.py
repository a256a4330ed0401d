"""The union of all families' settings: a new family is one more name in `Settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from gen2reco.errors import StudyError, nearest
from gen2reco.models.chamfer_vae import ChamferVAEConfig
from gen2reco.models.classifier import ClassifierConfig
from gen2reco.models.flashsim import FlashSimConfig
from gen2reco.models.flow import FlowConfig
from gen2reco.models.mixed import MixedConfig
from gen2reco.models.protocol import ModelConfig
from gen2reco.models.quantile import QuantileConfig
from gen2reco.models.set_flow_matching import SetFlowMatchingConfig
from gen2reco.models.sets import SetsConfig
from gen2reco.models.transport import TransportConfig
from gen2reco.models.vae import VAEConfig
from gen2reco.study.mistakes import allowed_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.models.protocol import Model, Shape
    from gen2reco.study import Part

Settings = Annotated[
    ChamferVAEConfig
    | ClassifierConfig
    | FlashSimConfig
    | FlowConfig
    | MixedConfig
    | QuantileConfig
    | SetFlowMatchingConfig
    | SetsConfig
    | TransportConfig
    | VAEConfig,
    Field(discriminator="kind"),
]

_settings: TypeAdapter[ModelConfig] = TypeAdapter(Settings)


def parse(block: Mapping[str, Any]) -> ModelConfig:
    """Return the settings that a study's `model` block stands for.

    Raises:
        StudyError: unknown `kind`, unknown field or a value that is not allowed; the message names
            the place and the nearest right name.
    """
    try:
        return _settings.validate_python(dict(block))
    except ValidationError as error:
        raise StudyError("\n".join(_explain(item, block) for item in error.errors())) from None


def build(settings: ModelConfig | Mapping[str, Any], shape: Shape) -> Model:
    """Return a freshly initialised model for rows of `shape`, from settings or a `model` block.

    Raises:
        StudyError: the settings are wrong, or the family cannot have targets of this shape.
    """
    config = settings if isinstance(settings, ModelConfig) else parse(settings)
    if shape.levels and not config.takes_levels:
        raise StudyError(f"model.kind: a {config.kind} has no discrete columns for its targets")
    return config.build(shape)


def takes_levels(block: Mapping[str, Any]) -> bool:
    """Return whether the family of a `model` block has discrete columns for flags and the like."""
    return parse(block).takes_levels


def plain_sides(block: Mapping[str, Any]) -> frozenset[str]:
    """Return the sides whose columns reach the family of a `model` block in the study's units."""
    return parse(block).plain


def representation(block: Mapping[str, Any]) -> str:
    """Return how constituents reach the family of a `model` block; "" where it takes no sets."""
    return parse(block).representation


def monitored(block: Mapping[str, Any]) -> bool:
    """Return whether models of a `model` block have a quantity that picks their best epoch."""
    return parse(block).monitored


def check_rows_of(part: Part) -> Part:
    """Return a part whose family takes its kind of rows.

    Raises:
        StudyError: it does not.
    """
    config = parse(part.model)
    if (part.rows.kind == "set") != bool(config.representation):
        takes = "kind 'set' only" if config.representation else "other kinds than 'set'"
        raise StudyError(
            f"part {part.name}: rows of kind {part.rows.kind!r}, but a {config.kind} takes rows of"
            f" {takes}"
        )
    return part


def runs_back(block: Mapping[str, Any]) -> bool:
    """Return whether models of a `model` block go from RECO to GEN as well."""
    return parse(block).runs_back


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of a study's `model` block."""
    return _settings.json_schema()


def _explain(item: Any, block: Mapping[str, Any]) -> str:
    schema = config_schema()
    kinds = schema["discriminator"]["mapping"]
    if item["type"] == "union_tag_not_found":
        return f"model.kind is missing; the families are {', '.join(sorted(kinds))}"
    if item["type"] == "union_tag_invalid":
        kind = str(block.get("kind"))
        known = ", ".join(sorted(kinds))
        return f"model.kind: there is no family {kind!r}; known are {known}.{nearest(kind, kinds)}"
    kind, *inner = item["loc"]
    place = ".".join(["model", *map(str, inner)])
    if item["type"] == "extra_forbidden":
        *above, key = inner
        allowed = allowed_keys(tuple(above), {"$ref": kinds[kind]}, schema)
        hint = nearest(str(key), allowed) or f" Allowed: {', '.join(allowed)}."
        return f"{place}: unknown key for kind {kind!r}.{hint}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{place}: {message} (seen: {item['input']!r:.80})"
