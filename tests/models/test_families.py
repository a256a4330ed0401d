"""Model blocks of a study: what is accepted, and what a wrong one says."""

import json

import pytest

from gen2reco import models
from gen2reco.errors import StudyError
from gen2reco.models.flow import Flow, FlowConfig
from gen2reco.models.protocol import Shape
from gen2reco.models.quantile import Quantile, QuantileConfig


def test_kind_picks_the_family():
    assert models.parse({"kind": "flow", "couplings": 3, "hidden": [8, 8, 8]}) == FlowConfig(
        couplings=3, hidden=(8, 8, 8)
    )
    assert isinstance(models.parse({"kind": "quantile"}), QuantileConfig)
    assert isinstance(models.build({"kind": "flow", "couplings": 1}, Shape(2, 1)), Flow)
    assert isinstance(models.build(QuantileConfig(derived="none"), Shape(2, 1)), Quantile)


def test_settings_survive_json():
    config = models.parse({"kind": "flow", "bins": 8, "dropout": 0.1})
    assert models.parse(json.loads(config.model_dump_json())) == config


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"kind": "folw"}, ["model.kind", "'folw'", "Did you mean 'flow'"]),
        ({}, ["model.kind is missing", "flow", "quantile"]),
        ({"kind": "flow", "coupling": 4}, ["model.coupling", "Did you mean 'couplings'"]),
        ({"kind": "flow", "zzz": 4}, ["model.zzz", "Allowed", "couplings"]),
        ({"kind": "flow", "bins": 1}, ["model.bins", "greater than or equal to 2", "seen: 1"]),
        ({"kind": "flow", "hidden": [64, "wide"]}, ["model.hidden.1", "'wide'"]),
        ({"kind": "quantile", "bins": 4}, ["model.bins", "'quantile'"]),
        ({"kind": "flashsim", "layers": 0}, ["model.layers", "greater than or equal to 1"]),
        ({"kind": "flashsim", "layers": "all"}, ["model.layers", "'targets'", "seen: 'all'"]),
        ({"kind": "vae", "hidden": []}, ["model.hidden", "at least 1"]),
    ],
)
def test_wrong_blocks_name_the_place_and_the_nearest_name(block, says):
    with pytest.raises(StudyError) as error:
        models.parse(block)
    for text in says:
        assert text in str(error.value)


def blocks_within(node, schema, *above):
    """Places of blocks in the settings of a family, where lists have one entry."""
    if "$ref" in node:
        if above:
            yield above
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    for name, field in node.get("properties", {}).items():
        yield from blocks_within(field, schema, *above, name)
    for entry in [node.get("items"), *node.get("prefixItems", [])]:
        if isinstance(entry, dict):
            yield from blocks_within(entry, schema, *above, 0)


SCHEMA = models.config_schema()
NESTED = [
    (kind, place)
    for kind, reference in SCHEMA["discriminator"]["mapping"].items()
    for place in blocks_within(SCHEMA["$defs"][reference.rsplit("/", 1)[-1]], SCHEMA)
]


def test_blocks_in_blocks_are_found():
    assert {kind for kind, _ in NESTED} == {"mixed", "sets", "transport"}
    assert ("sets", ("electromagnetic", 0)) in NESTED


@pytest.mark.parametrize(("kind", "place"), NESTED)
def test_an_unknown_key_in_a_block_of_a_block_is_named(kind, place):
    inner = {"zzz": 1}
    for step in reversed(place):
        inner = [inner] if step == 0 else {step: inner}
    with pytest.raises(StudyError) as error:
        models.parse({"kind": kind, **inner})
    where = ".".join(["model", *map(str, place), "zzz"])
    assert f"{where}: unknown key for kind {kind!r}. Allowed: " in str(error.value)


def test_the_nearest_key_of_a_block_in_a_block():
    with pytest.raises(StudyError, match=r"model\.tracker\.feild.*Did you mean 'field'"):
        models.parse({"kind": "sets", "tracker": {"feild": 3.8}})
    with pytest.raises(StudyError, match=r"model\.electromagnetic\.0\.stepz.*Did you mean 'steps'"):
        models.parse({"kind": "sets", "electromagnetic": [{"stepz": 2}]})


def test_quantile_needs_its_nine_conditions():
    with pytest.raises(StudyError, match=r"9 conditions .* has 4"):
        models.build({"kind": "quantile"}, Shape(2, 4))


def test_schema_covers_all_families():
    schema = models.config_schema()
    families = schema["discriminator"]["mapping"]
    known = {"chamfer-vae", "classifier", "flashsim", "flow", "mixed", "quantile", "sets"}
    known |= {"set-flow-matching", "transport", "vae"}
    assert set(families) == known
    for reference in families.values():
        settings = schema["$defs"][reference.rsplit("/", 1)[-1]]
        assert settings["additionalProperties"] is False
        required = set(settings.get("required", ()))
        assert required <= {"gen", "reco"}, "only the particles of a study have no default"
        assert all(
            "description" in field and ("default" in field or name in required)
            for name, field in settings["properties"].items()
            if name != "kind"
        )
