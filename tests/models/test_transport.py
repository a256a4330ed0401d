"""Transport: distances of samples that are no pairs, momenta, and maps learned from them."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gen2reco import models
from gen2reco.errors import StudyError
from gen2reco.models.nn import slices
from gen2reco.models.nn.momenta import Particle, energies, pack, quantities, transverse, unpack
from gen2reco.models.protocol import Batch, Noise, Shape
from gen2reco.study import Training
from gen2reco.training import fit
from gen2reco.validation.distances import w2_squared

ELECTRON = {"mass": 0.0005, "like": "electron", "least_pt": 10.0, "most_eta": 2.5}
ZEE = {
    "kind": "transport",
    "gen": [ELECTRON, ELECTRON],
    "reco": [ELECTRON, ELECTRON],
    "gen_systems": [[0, 1]],
    "reco_systems": [[0, 1]],
    "distance": {"slices": 8},
}
JET = {"columns": "px py pz mass", "like": "jet", "least_pt": 20.0}
FORMS = {
    "ours": (ZEE, Shape(6, 6)),
    "joint": (
        {
            **ZEE,
            "joint": True,
            "decoder": {"form": "direct", "hidden": [16], "noise": 6},
            "encoder": {"form": "direct", "hidden": [16], "noise": 6},
            "distance": {"slices": 8, "unit": "GeV", "quantities": "none"},
            "stages": [{"anchor_encoder": 5, "anchor_decoder": 5, "thresholds": 1}],
        },
        Shape(6, 6),
    ),
    "residual": (
        {
            **ZEE,
            "decoder": {"form": "residual"},
            "encoder": {"form": "residual"},
            "distance": {"slices": 8, "widest": True, "quantities": "deviation", "emphasis": 1.0},
        },
        Shape(6, 6),
    ),
    "alone": ({**ZEE, "decoder_alone": True, "passing": True}, Shape(6, 6)),
    "other size": (
        {
            "kind": "transport",
            "gen": [{"mass": 4.8}, {"mass": 0}, {"mass": 0}],
            "reco": [{"columns": "px py"}, JET, JET],
            "starts": [2, 0, 1],
            "gen_starts": [1, 2, 0],
            "ordered": [1, 2],
            "decoder": {"radiated": 2, "turns": True},
        },
        Shape(10, 9),
    ),
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def rows(shape, n=200, seed=3):
    """Back-to-back momenta around 45 GeV, and on the RECO side others of the same kind."""
    generator = torch.Generator().manual_seed(seed)

    def side(columns):
        return 30.0 * torch.randn(n, columns, generator=generator) + 5.0

    return Batch(side(shape.targets), side(shape.conditions), torch.ones(n))


def noise_for(width, n, seed=4):
    return torch.randn(n, width.normal, generator=torch.Generator().manual_seed(seed))


def built(form):
    torch.manual_seed(2)
    model = models.build(*form)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def test_w2_of_an_axis_is_that_of_the_metrics():
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(2, 500, 3)).astype(np.float32)
    found = slices.axis_distances(torch.from_numpy(first), torch.from_numpy(1 + 2 * second))
    wanted = [w2_squared(first[:, k], 1 + 2 * second[:, k]) for k in range(3)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_order_and_its_gradient_are_those_of_torch():
    values = torch.randn(300, 4, requires_grad=True)
    twin = values.detach().clone().requires_grad_()
    weight = torch.randn(4, 300)
    (slices.in_order(values) * weight).sum().backward()
    (twin.sort(0).values.t() * weight).sum().backward()
    assert torch.equal(values.grad, twin.grad)
    assert torch.equal(slices.in_order(values.detach()), slices.in_order(values).detach())


def test_ranks_of_the_data_itself_and_beyond():
    data = torch.rand(1001, 1).sort(0).values
    knots = data[::100].t().contiguous()
    found = slices.ranks(data.t(), knots)
    assert found[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert found[0, -1] == pytest.approx(1.0, abs=1e-6)
    assert (found.diff() >= 0).all()
    assert (slices.ranks(torch.tensor([[-5.0, 5.0]]), knots) - 0.5).abs().min() > 1.0


def test_rank_distance_knows_no_unit_and_sees_a_shift():
    torch.manual_seed(1)
    data, same, other = torch.randn(4000, 1), torch.randn(4000, 1), torch.randn(4000, 1) + 0.2
    close, far = (slices.rank_distances(x, data, 100) for x in (same, other))
    assert far > 10 * close
    torch.testing.assert_close(
        slices.rank_distances(1000 * other, 1000 * data, 100), far, rtol=1e-3, atol=0
    )


def test_momenta_come_back_and_add_up():
    particles = [Particle(columns="px py"), Particle(columns="px py pz mass"), Particle(mass=3.0)]
    columns = torch.randn(50, 9).abs() * 20
    momenta = unpack(columns, particles)
    assert torch.equal(pack(momenta, particles), columns)
    assert (momenta[:, 0, 2:] == 0).all()
    assert (momenta[:, 2, 3] == 3.0).all()
    torch.testing.assert_close(energies(momenta)[:, 0], transverse(momenta)[:, 0])
    # The mass of a system of one is its own; two massless back to back give twice the energy.
    assert quantities(momenta, [(1,)])[:, -2] == pytest.approx(columns[:, 5], rel=1e-2, abs=0.05)
    pair = unpack(torch.tensor([[30.0, 0, 40.0, -30.0, 0, -40.0]]), [Particle(), Particle()])
    assert quantities(pair, [(0, 1)])[0, -2].item() == pytest.approx(100.0, rel=1e-4)


def test_shapes_and_capabilities(form):
    model, batch = built(form), rows(form[1])
    assert isinstance(model.noise, Noise)
    sampled = model.sample(batch.condition, noise_for(model.noise, 200))
    assert sampled.shape == batch.target.shape
    assert torch.isfinite(sampled).all()
    if model.config.decoder_alone:
        with pytest.raises(StudyError, match="no encoder"):
            model.unfold(batch.target, torch.zeros(200, 0))
    else:
        unfolded = model.unfold(batch.target, noise_for(model.unfold_noise, 200))
        assert unfolded.shape == batch.condition.shape
        assert torch.isfinite(unfolded).all()


def test_each_objective_moves_its_own_parameters(form):
    torch.manual_seed(5)
    model, batch = models.build(*form).train(), rows(form[1])
    moved: list[int] = []
    for name, parameters in model.objectives().items():
        model.zero_grad()
        model.loss(batch, name).backward(inputs=list(parameters))
        for parameter in parameters:
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all()
        moved += [id(parameter) for parameter in parameters]
    assert sorted(moved) == sorted(id(parameter) for parameter in model.parameters())


def test_same_noise_same_sample_and_neighbours_do_not_matter(form):
    model, batch = built(form), rows(form[1], 2048)
    noise = noise_for(model.noise, 2048)
    with torch.inference_mode():
        sampled = model.sample(batch.condition, noise)
        order = torch.randperm(2048)
        assert torch.equal(model.sample(batch.condition[order], noise[order]), sampled[order])
        other = model.sample(batch.condition, noise_for(model.noise, 2048, seed=9))
    assert (sampled != other).any(1).float().mean() > 0.99


def test_state_survives_a_file_and_a_copy_is_independent(form, tmp_path):
    model, batch = built(form), rows(form[1])
    noise = noise_for(model.noise, 200)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other = models.build(*form).eval()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    sampled = model.sample(batch.condition, noise)
    assert torch.equal(other.sample(batch.condition, noise), sampled)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert torch.equal(model.sample(batch.condition, noise), sampled)
    assert not torch.equal(twin.sample(batch.condition, noise), sampled)


def test_loss_is_fixed_in_evaluation_and_knows_no_pairs(form):
    model, batch = built(form), rows(form[1])
    with torch.no_grad():
        first = model.loss(batch)
        assert torch.equal(first, model.loss(batch))
        alone = {**form[0], "stages": [{"reconstruction": 0}]}
        pairless = built((alone, form[1]))
        swapped = Batch(batch.target.flip(0), batch.condition, batch.weight)
        assert pairless.config.decoder_alone or not torch.equal(first, pairless.loss(batch))
        decoder = pairless.loss(batch, "decoder")
        if not pairless.config.passing:
            assert pairless.loss(swapped, "decoder").item() == pytest.approx(
                decoder.item(), rel=1e-4
            )


def test_different_weights_are_refused():
    model, batch = built(FORMS["ours"]), rows(Shape(6, 6))
    with pytest.raises(StudyError, match="one weight"):
        model.loss(Batch(batch.target, batch.condition, torch.arange(1.0, 201.0)))


def test_stages_follow_the_steps():
    stages = [{"steps": 2, "anchor_encoder": 50.0}, {"steps": 1, "simulated": 7.0}, {}]
    model, batch = models.build({**ZEE, "stages": stages}, Shape(6, 6)).train(), rows(Shape(6, 6))
    seen = []
    for _ in range(4):
        seen.append((model.terms().anchor_encoder, model.terms().simulated))
        for name in model.objectives():
            model.loss(batch, name)
    assert seen == [(50.0, 1.0), (50.0, 1.0), (0.0, 7.0), (0.0, 1.0)]
    assert model.eval().terms() == model.config.stages[-1]


def test_the_rate_of_a_stage_is_a_factor_on_the_learning_rate(tmp_path):
    """Half the rate and twice the factor are the same training."""
    weights = []
    for rate, factor in ((2e-3, 1.0), (4e-3, 0.5), (4e-3, 1.0)):
        torch.manual_seed(1)
        block = {**ZEE, "stages": [{"steps": 1}, {"rate": factor}]}
        model = models.build(block, Shape(6, 6))
        model.step += 1  # past the first stage
        settings = Training(
            epochs=2, batch=100, learning_rate=rate, schedule="constant", optimizer="adam"
        )
        fit(
            model,
            rows(Shape(6, 6)),
            rows(Shape(6, 6)),
            settings,
            folder=tmp_path / str(len(weights)),
        )
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.allclose(weights[0], weights[1], rtol=1e-6, atol=1e-9)
    assert not torch.allclose(weights[0], weights[2], rtol=1e-3)


def test_thresholds_hold_and_jets_fall_in_pt():
    model = built(FORMS["ours"])
    condition = torch.randn(500, 6) * 12
    made = unpack(model.sample(condition, noise_for(model.noise, 500)), model.config.reco)
    assert transverse(made).min() >= 10.0
    model = built(FORMS["other size"])
    jets = unpack(
        model.sample(30 * torch.randn(500, 9), noise_for(model.noise, 500)), model.config.reco
    )
    pt = transverse(jets)
    assert (pt[:, 1] >= pt[:, 2]).all()
    assert pt[:, 1:].min() >= 20.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reco": [ELECTRON]}, "3 columns, but the study has 6"),
        ({"starts": [0, 5]}, "numbers from 0 to 1"),
        ({"decoder": {"radiated": 1}}, "ordered"),
        ({"encoder": {"radiated": 1}}, "on the way to GEN"),
    ],
)
def test_settings_that_do_not_fit(change, message):
    with pytest.raises(StudyError, match=message):
        models.build({**ZEE, **change}, Shape(6, 6))


def test_learns_a_response_from_samples_that_are_no_pairs():
    """Electrons of a narrow Z lose 5 % with a width of 4 %: the mass peak tells, no pair does."""
    torch.manual_seed(7)

    def pairs(n):
        cosine = 1.6 * torch.rand(n) - 0.8
        phi, energy = 2 * torch.pi * torch.rand(n), 45.6 + 1.2 * torch.randn(n)
        sine = (1 - cosine**2).sqrt()
        one = energy[:, None] * torch.stack([sine * phi.cos(), sine * phi.sin(), cosine], 1)
        gen = torch.stack([one, -one], 1)
        reco = gen * (0.95 + 0.04 * torch.randn(n, 2, 1))
        return gen.flatten(1), reco.flatten(1)

    z, x = pairs(6000)[0], pairs(6000)[1]
    block = {**ZEE, "distance": {"slices": 8, "emphasis": 1.0}, "decoder_alone": True}
    model = models.build(block, Shape(6, 6)).train()
    steps = 160
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1.0 - step / steps)
        optimizer.zero_grad()
        chosen = torch.randperm(6000)[:3000]
        model.loss(Batch(x[chosen], z[chosen], torch.ones(3000))).backward()
        optimizer.step()
    gen, reco = pairs(6000)
    made = model.eval().sample(gen, noise_for(model.noise, 6000))
    ratios = [
        values.reshape(-1, 2, 3).norm(dim=2) / gen.reshape(-1, 2, 3).norm(dim=2)
        for values in (made.detach(), reco)
    ]
    assert ratios[0].median().item() == pytest.approx(ratios[1].median().item(), abs=0.006)
    assert ratios[0].std().item() == pytest.approx(ratios[1].std().item(), rel=0.2)


def test_known_pairs_alone_tell_median_and_width():
    """Half of the rows are pairs: the score of two draws has its minimum at the true response."""
    torch.manual_seed(3)
    block = {**ZEE, "stages": [{"simulated": 0.0, "unfolded": 0.0, "reconstruction": 0.0}]}
    model = models.build(block, Shape(6, 6)).train()
    z = 40.0 * torch.randn(1200, 6)
    x = (z.reshape(-1, 2, 3) * (0.85 + 0.06 * torch.randn(1200, 2, 1))).flatten(1)
    known = torch.arange(1200) % 2 == 0
    x[~known] = 5.0  # is not looked at
    assert float(model.loss(Batch(x, z, torch.ones(1200)), "decoder").detach()) == 0
    optimizer = torch.optim.Adam(model.decoder.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(Batch(x, z, torch.ones(1200), known), "decoder").backward()
        optimizer.step()
    made = model.eval().sample(z, noise_for(model.noise, 1200)).detach()
    hard = z.reshape(-1, 2, 3)[..., :2].norm(dim=2) > 25.0  # far from the threshold
    ratio = (made.reshape(-1, 2, 3).norm(dim=2) / z.reshape(-1, 2, 3).norm(dim=2))[hard]
    assert ratio.median().item() == pytest.approx(0.85, abs=0.015)
    assert ratio.std().item() == pytest.approx(0.06, rel=0.25)
