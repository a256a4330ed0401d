"""Toy jets in front of and behind a detector that is known."""

import numpy as np
import torch

from gen2reco.models import build
from gen2reco.models.nn.slots import FIELDS
from gen2reco.models.protocol import Batch, Shape
from gen2reco.models.set_flow_matching import SetFlowMatchingConfig
from gen2reco.models.sets import SetsConfig

SLOTS = 30
TOY = SetsConfig(hidden=(16, 16), bins=8, most_left=4)
FLOW = SetFlowMatchingConfig(width=16, blocks=(1, 1, 1, 1), hidden=(8,), most_left=4)
CODES = np.array([211, 130, 22, 11, 13])
SHARES = (0.5, 0.12, 0.34, 0.02, 0.02)
EFFICIENCY = 0.7
SCALE = 0.9


def built(config, slots=SLOTS):
    """Return a fresh model."""
    torch.manual_seed(1)
    return build(config, Shape(slots * FIELDS, slots * FIELDS, slots=slots)).eval()


def gen_jets(count, seed, slots=SLOTS):
    """Return GEN jets [count, slots, FIELDS], 6 to 21 particles each."""
    rng = np.random.default_rng(seed)
    jets = np.zeros((count, slots, FIELDS), np.float32)
    axis = rng.uniform(-1.0, 1.0, count), rng.uniform(-np.pi, np.pi, count)
    for jet, number in enumerate(rng.integers(6, 22, count)):
        kind = rng.choice(5, number, p=SHARES)
        charge = np.where((kind == 1) | (kind == 2), 0, rng.choice([-1, 1], number))
        sign = np.where(kind == 0, charge, -charge) + (charge == 0)
        eta = axis[0][jet] + rng.normal(0, 0.15, number)
        phi = axis[1][jet] + rng.normal(0, 0.15, number)
        phi = np.mod(phi + np.pi, 2 * np.pi) - np.pi
        pt = np.sort(rng.exponential(15.0, number) + 1.0)[::-1]
        jets[jet, :number] = np.stack([pt, eta, phi, sign * CODES[kind], charge], 1)
    return jets


def reco_jets(gen, seed):
    """Charged particles are found in 70 %; pt is 0.9 of GEN's with a width of 5 %."""
    rng = np.random.default_rng(seed)
    reco = gen.copy()
    lost = (gen[..., 4] != 0) & (rng.random(gen.shape[:2]) > EFFICIENCY)
    reco[..., 0] *= SCALE * np.exp(rng.normal(0, 0.05, gen.shape[:2]))
    reco[lost] = 0.0
    return reco


def batch(count=200, seed=1):
    """Return toy jets as the family sees them."""
    gen = gen_jets(count, seed)
    sides = (reco_jets(gen, seed + 1), gen)
    flat = [torch.from_numpy(side.reshape(count, -1)) for side in sides]
    return Batch(*flat, torch.ones(count))


def drawn(model, gen, noise):
    """Sample jets [jets, slots, FIELDS]."""
    with torch.inference_mode():
        flat = model.sample(torch.from_numpy(gen.reshape(len(gen), -1)), noise)
    return flat.numpy().reshape(len(gen), -1, FIELDS)


def noise(model, count, seed=1):
    """Return the random numbers of some jets."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(count, model.noise.normal))
    uniform = rng.random((count, model.noise.uniform))
    return torch.from_numpy(np.concatenate([normal, uniform], axis=1).astype(np.float32))
