"""A toy detector, so small that every comparison of it takes a second."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gen2reco.validation import Closure, Coverage, Outcome, Sample, Settings, Tally, ranks

TOY_SETTINGS = Settings(
    resplits=100,
    bootstraps=40,
    classifier_seeds=1,
    classifier_resplits=2,
    folds=2,
    threads=2,
    bins=25,
)


def toy_gen(rows, seed):
    rng = np.random.default_rng([seed, 1])
    return {"gen_pt": 20 + rng.exponential(30, rows), "gen_eta": rng.normal(0, 1.2, rows)}


def toy_reco(gen, seed, scale=1.0, width=0.1):
    """RECO given GEN: a smeared pt, a copied eta, a mass, a flag, a count."""
    rng = np.random.default_rng([seed, 2])
    pt, rows = gen["gen_pt"], len(gen["gen_pt"])
    smear = rng.normal(scale, width, rows)
    reco = {
        "pt": pt * smear,
        "eta": gen["gen_eta"].copy(),
        "mass": 0.1 * pt * np.exp(0.3 * rng.normal(size=rows)) * smear,
        "tag": (rng.random(rows) < pt / 200).astype(float),
        "jets": rng.poisson(1.5, rows).astype(float),
    }
    return reco, {"pt": reco["pt"] / pt, "eta": reco["eta"] - gen["gen_eta"]}


def toy_sample(gen, event, seed, **options):
    reco, response = toy_reco(gen, seed, **options)
    same = {"pt": gen["gen_pt"], "eta": gen["gen_eta"], "mass": 0.1 * gen["gen_pt"]}
    return Sample(reco, response, gen, np.ones(len(event)), event, same)


def toy(rows=3000, seed=0, **options):
    """FullSim with halves, FastSim from the GEN of half B, coverage and closure."""
    gen, event = toy_gen(rows, seed), np.arange(rows)
    full = toy_sample(gen, event, 100 + seed)
    half = np.random.default_rng([seed, 3]).integers(0, 2, rows)
    b = half == 1
    gen_b = {name: values[b] for name, values in gen.items()}
    fast = toy_sample(gen_b, event[b], 200 + seed, **options)
    draws = np.stack([toy_reco(gen, 300 + i, **options)[1]["pt"] for i in range(99)], axis=1)
    coverage = Coverage({"pt": ranks(full.responses["pt"], draws)}, np.ones(rows), event)
    closure = Closure(
        {"gen_pt": gen["gen_pt"], "gen_eta": gen["gen_eta"]},
        {"pt": full.responses["pt"]},
        {"pt": draws[:, :4]},
        np.ones(rows),
        event,
    )
    return SimpleNamespace(full=full, half=half, fast=fast, coverage=coverage, closure=closure)


def with_members(fast, members=3):
    """The same rows several times over, as an ensemble writes them."""
    parts = [fast.take(np.roll(np.arange(len(fast)), 0)) for _ in range(members + 1)]
    rng = np.random.default_rng(5)
    parts = [
        replace(part, quantities={k: v * rng.normal(1, 0.01) for k, v in part.quantities.items()})
        if i
        else part
        for i, part in enumerate(parts)
    ]

    def joined(group):
        return {
            k: np.concatenate([getattr(p, group)[k] for p in parts]) for k in getattr(fast, group)
        }

    return Sample(
        joined("quantities"),
        joined("responses"),
        joined("gen"),
        np.concatenate([p.weight for p in parts]),
        np.concatenate([p.event for p in parts]),
        joined("gen_quantities"),
        np.repeat(np.arange(members + 1), len(fast)),
    )


def toy_objects(events=1500, seed=0, width=0.1, shared=0.5):
    """One row per object: matched objects, found or not, extra ones, and tags.

    `shared` is how much of the smearing the objects of an event have in common.
    """
    rng = np.random.default_rng([seed, 11])
    event = np.repeat(np.arange(events), 1 + rng.poisson(2, events))
    rows = len(event)
    gen = {
        "gen_pt": 20 + rng.exponential(30, rows),
        "gen_eta": rng.normal(0, 1.2, rows),
        "gen_flavour": rng.choice([0.0, 4.0, 5.0], rows, p=[0.7, 0.1, 0.2]),
    }
    half = np.arange(events) % 2
    present = 1 - 0.5 * np.exp(-gen["gen_pt"] / 30)
    tagged = np.choose((gen["gen_flavour"]).astype(int) % 4, [0.02, 0.6, 0.0, 0.0])
    tagged = np.where(gen["gen_flavour"] == 4, 0.15, tagged)

    def reco(side):
        both = np.random.default_rng([seed, 12, side])
        common = np.sqrt(shared) * both.normal(size=events)[event]
        smear = 1 + width * (common + np.sqrt(1 - shared) * both.normal(size=rows))
        quantities = {
            "pt": gen["gen_pt"] * smear,
            "n": np.round(both.gamma(4, gen["gen_pt"] / 8)),
            "tag": (both.random(rows) < tagged).astype(float),
        }
        return quantities, {"pt": smear}, both.random(rows) < present

    def sample(side, keep):
        quantities, responses, found = reco(side)
        rows_kept = np.flatnonzero(found & keep)
        whole = Sample(
            quantities, responses, gen, np.ones(rows), event, {"pt": gen["gen_pt"]},
            row=np.arange(rows),
        )  # fmt: skip
        return whole.take(rows_kept), found, quantities

    full, found, quantities = sample(0, np.ones(rows, bool))
    fast, _, _ = sample(1, half[event] == 1)
    tags = [reco(side)[0]["tag"] for side in (2, 3, 4)]
    groups = {"b": gen["gen_flavour"] == 5, "other": gen["gen_flavour"] != 5}
    bins = {name: gen[name] for name in ("gen_pt", "gen_eta")}
    ones = np.ones(rows)
    outcomes = {
        "found": Outcome(found, bins, ones, event, probability=present, groups=groups),
        "tag": Outcome(
            quantities["tag"] > 0, bins, ones, event, fast=np.stack(tags, axis=1) > 0,
            groups=groups, kind="flag",
        ),
    }  # fmt: skip
    extra = np.random.default_rng([seed, 13]).poisson(0.7, events)
    tallies = tuple(
        Tally(extra[half == side], np.ones(np.sum(half == side)), np.flatnonzero(half == side))
        for side in (0, 1)
    )
    return SimpleNamespace(
        full=full, half=half[full.event], fast=fast, outcomes=outcomes, counts={"extra": tallies}
    )


@pytest.fixture(scope="session")
def toys():
    """Factories of toy samples: `toys.make`, `toys.objects`, `toys.members`, `toys.settings`."""
    return SimpleNamespace(
        make=toy, objects=toy_objects, members=with_members, settings=TOY_SETTINGS
    )
