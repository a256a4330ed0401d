"""ONNX: families of rows of numbers, rare operations, and errors in one sentence."""

import numpy as np
import pytest
import torch
from torch import nn

from gen2reco import models
from gen2reco.errors import EmulatorError
from gen2reco.models.nn.momenta import columns_of
from gen2reco.models.protocol import Noise, Shape
from gen2reco.portable import onnx
from gen2reco.study import load_study

FAMILIES = {
    "classifier": ({"kind": "classifier"}, Shape(2, 4, (2, 3))),
    "flow": ({"kind": "flow", "couplings": 2, "hidden": [8], "bins": 5}, Shape(2, 1)),
    "quantile": ({"kind": "quantile"}, Shape(9, 9)),
    "vae": ({"kind": "vae", "latent": 2, "hidden": [8]}, Shape(3, 4)),
    "a generator": ({"kind": "vae", "latent": 2, "hidden": [8]}, Shape(2, 0)),
    "transport": "zee",
}  # fmt: skip


class Bare(nn.Module):
    """Looks like a part that has no features: a model alone."""

    def __init__(self, model, inputs):
        super().__init__()
        self.model, self.inputs = model, range(inputs)

    def forward(self, gen, noise):
        return self.model.sample(gen, noise).float()


class Operation(nn.Module):
    """Looks like a model that does one thing to its only input, in float64."""

    noise = Noise(normal=1)

    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def sample(self, condition, noise):
        return self.operation(condition.double()) + 0 * noise.double()


@pytest.mark.parametrize("name", FAMILIES)
def test_families_do_as_onnx_what_they_do_in_python(tmp_path, name):
    torch.manual_seed(1)
    given = FAMILIES[name]
    if isinstance(given, str):
        block = load_study(given).parts[0].model
        sides = (columns_of(models.parse(block).reco), columns_of(models.parse(block).gen))
        given = (block, Shape(*sides))
    chain = Bare(models.build(*given).eval(), given[1].conditions)
    onnx.write_onnx(chain, tmp_path / "part.onnx", {})
    gen = 5 + torch.randn(7, given[1].conditions)
    noise = torch.rand(7, chain.model.noise.width)
    with torch.inference_mode():
        expected = chain(gen, noise).numpy()
    assert expected.std(axis=0).max() > 0
    reco = onnx.run_onnx(tmp_path / "part.onnx", gen.numpy(), noise.numpy())
    np.testing.assert_allclose(reco, expected, rtol=1e-4, atol=1e-4)


def test_what_is_rare_in_float64_is_spelt_out(tmp_path):
    def hardest_first(x):
        return torch.cat([x, x**2, x], 1).argsort(dim=1, descending=True, stable=True)

    rare = (torch.sinh, torch.cosh, torch.asinh, torch.arcsinh, torch.cos, hardest_first)
    chain = Bare(Operation(lambda x: torch.cat([each(x) for each in rare], 1)), 1)
    onnx.write_onnx(chain, tmp_path / "one.onnx", {})
    gen = np.linspace(-3, 3, 7, dtype=np.float32)[:, None]
    reco = onnx.run_onnx(tmp_path / "one.onnx", gen, np.zeros_like(gen))
    expected = chain(torch.from_numpy(gen), torch.zeros(7, 1))
    np.testing.assert_allclose(reco, expected, rtol=2e-7)


def test_what_cannot_be_is_one_sentence(tmp_path, monkeypatch):
    path, one = tmp_path / "one.onnx", np.zeros((1, 1), np.float32)

    def refused(pattern, run):
        with pytest.raises(EmulatorError, match=pattern) as told:
            run()
        assert "\n" not in str(told.value)

    fixed = Bare(Operation(lambda x: x + x.new_zeros(len(x), 1)), 1)
    refused("the number of rows a constant", lambda: onnx.write_onnx(fixed, path, {}))
    flashsim = Bare(models.build({"kind": "flashsim", "layers": 2}, Shape(2, 1)).eval(), 1)
    refused("written as ONNX.*solve_triangular", lambda: onnx.write_onnx(flashsim, path, {}))
    monkeypatch.setattr(onnx, "_without_rare_operations", torch.export.default_decompositions)
    onnx.write_onnx(Bare(Operation(torch.asinh), 1), path, {})
    refused("ONNX Runtime .*implementation for Asinh", lambda: onnx.run_onnx(path, one, one))
    path.write_bytes(b"none")
    refused("ONNX Runtime cannot run", lambda: onnx.run_onnx(path, one, one))
