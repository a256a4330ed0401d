"""The generators of Z gamma without m_lly: what each learns when the mass is no feature.

An autoencoder does without the features m_lly, pt_ll over m_lly and e_zy, which is a function of
m_lly and others. What is left still determines the mass, by a chain of functions that a network
would have to find. The flow learns scale-free coordinates, momenta in units of m_lly: they say
nothing on the mass but what is correlated with it, since all of them stay what they are when an
event is made harder or softer as a whole. One of them is a function of the others (the mass of
everything is 1), so that the pair's mass goes without saying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gen2reco import load_study

if TYPE_CHECKING:
    from gen2reco.study import Study

LEFT_OUT = ("m_lly", "pt_ll_over_m_lly", "e_zy")
SCALED = ("photon_pt", "u_x", "u_y", "met_x", "met_y")
"""Momenta that the flow learns in units of m_lly."""
OWN = {
    "decay_angle": "atan2(mirror_z * harder * reco_nz, mirror_t * harder * reco_ny)",
    "pair_rapidity": "mirror_z * reco_y",
}
"""Coordinates that take no threshold in pt for their unit."""
KEPT = ("orientation", "photon_eta", "decay_x", "jets", "forward_jets")


def without_mass(name: str) -> Study:
    """The study of a generator that is not shown m_lly."""
    part = load_study(name).parts[0]
    targets = {
        one.name[0]: one.model_dump(mode="json", exclude_defaults=True) for one in part.target
    }
    changes: dict[str, Any] = {"name": f"{name}-without-m_lly"}
    if part.model["kind"] == "vae":
        targets = {key: one for key, one in targets.items() if key not in LEFT_OUT}
        output = {k: text for k, text in part.output[""].items() if k not in LEFT_OUT}
    else:
        spread = {"transform": ["asinh", "quantile_normal"]}
        defined = {f"{key}_share": f"{key} / m_lly" for key in SCALED} | OWN
        changes |= {f"define.{key}": text for key, text in defined.items()}
        targets = {key: targets[key] for key in KEPT}
        targets |= {key: {"name": key, "value": key, **spread} for key in defined}
        output = {key: key for key in targets}
        # What a classifier that knows signal is given, too.
        changes["validation.quantities"] = {"m_lly": "m_lly"} | output
    changes |= {"parts.0.target": list(targets.values()), "parts.0.output": output}
    return load_study(name, changes)
