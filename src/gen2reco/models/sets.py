"""Sets: the particles of a jet behind the detector, given those before it, particle by particle.

What a detector does to a jet is local: a charged particle leaves a track or none, with its own
direction; what enters a cell of a calorimeter comes out as at most one neutral particle of that
cell. So p(RECO | GEN) is a product over the jet's particles and cells:

1. each decay of a long-lived particle, found by its mass, leaves no sign, some, or one elsewhere;
2. each charged GEN particle is lost, found, or found with another azimuth;
3. each cell that photons and electrons enter gives a photon or none, and its energy;
4. each cell that hadrons enter gives a neutral hadron or none, given the tracks of 2; then come
   the common scale of its tracks, the energy of the neutral hadron, and how tracks share theirs;
5. what is left in RECO (particles that GEN's list does not hold, decays in flight) is a number of
   particles per jet and their types and momenta.

Classifiers, histograms and flows learn every step, given energies, counts and place of particle or
cell. Which particles end up in the jet is up to the jet: what is made is clustered once more. A
last classifier refuses some of the jets, so that small errors of many steps do not add up.

Neutral particles lie anywhere within their cell. The grid of cells and the solenoid are settings;
nothing else is known of the detector. Particles come in any order: random numbers belong to the
slot of a GEN particle (of a cell or decay: that of its most energetic one), and all else is sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from gen2reco.models.nn.calorimeter import Detector, Grid, Ring, Tracker
from gen2reco.models.nn.decays import DIGITS
from gen2reco.models.nn.hits import Particles
from gen2reco.models.nn.jet_observed import Observed
from gen2reco.models.nn.jet_refusal import ATTEMPTS, Refusal
from gen2reco.models.nn.jet_response import Draws
from gen2reco.models.nn.jet_simulation import simulate
from gen2reco.models.nn.jet_steps import STEPS, Steps
from gen2reco.models.nn.slots import FIELDS, in_slots, out_of_slots
from gen2reco.models.protocol import Batch, Model, ModelConfig, Noise, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Width = Annotated[int, Field(ge=1)]

LEARNED = 3
"""One jet in so many is drawn in training, for the classifier that refuses jets."""


class SetsConfig(ModelConfig):
    """Settings of the response of sets of particles."""

    representation: ClassVar[str] = "absolute"
    kind: Literal["sets"] = "sets"
    electromagnetic: tuple[Ring, ...] = Field(
        (Ring(phi=360, edges=(-3.0, 3.0), steps=345),),
        min_length=1,
        description="cells that photons and electrons enter",
    )
    hadronic: tuple[Ring, ...] = Field(
        (Ring(phi=72, edges=(-3.0, 3.0), steps=69),),
        min_length=1,
        description="cells that hadrons enter",
    )
    tracker: Tracker = Field(Tracker(), description="the solenoid in front of them")
    together: bool = Field(
        True, description="particles of one decay know of each other; off: all are independent"
    )
    digits: int = Field(
        DIGITS,
        ge=1,
        le=52,
        description="binary digits behind the leading one with which files hold pt, eta and phi of"
        " GEN particles: how well the mass of a decay is known",
    )
    radius: float | None = Field(
        None,
        gt=0,
        description="of the anti-kT jets that rows are: what is made is clustered once more, and"
        " what the hardest jet does not hold is left out; without: all is kept",
    )
    refusal: tuple[Width, ...] = Field(
        (32, 32),
        description="widths of the hidden layers of the classifier that refuses drawn jets; none:"
        " all are accepted",
    )
    hidden: tuple[Width, ...] = Field(
        (64, 64), min_length=1, description="widths of the hidden layers of every network"
    )
    couplings: int = Field(2, ge=1, description="of each flow")
    bins: int = Field(16, ge=2, le=128, description="pieces of each spline")
    most_left: int = Field(
        12, ge=1, description="most particles of a jet that belong to no GEN particle"
    )

    def build(self, shape: Shape) -> Sets:
        """Return freshly initialised networks."""
        return Sets(self, shape)


class Sets(Model):
    """Networks of all steps; see the module."""

    def __init__(self, config: SetsConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.slots = shape.slots
        grids = (Grid(config.electromagnetic), Grid(config.hadronic))
        self.detector = Detector(
            grids, config.tracker, config.together, config.digits, config.radius
        )
        self.steps = nn.ModuleDict(
            {
                name: step.build(
                    hidden=config.hidden, couplings=config.couplings, bins=config.bins,
                    most=config.most_left,
                )
                for name, step in STEPS.items()
            }
        )  # fmt: skip
        self.refusal = Refusal(config.refusal) if config.refusal else None

    def objectives(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The response, and the classifier that refuses some of what it draws."""
        named = {"loss": list(self.steps.parameters())}
        return named | ({"refusal": list(self.refusal.parameters())} if self.refusal else {})

    @property
    def noise(self) -> Noise:
        """Those of each attempt, one attempt after the other."""
        attempts, sizes = self._attempts, self._sizes
        return Noise(attempts * sizes.normal, attempts * sizes.uniform)

    def loss(self, batch: Batch, objective: str = "loss") -> Tensor:
        """Return -log p of all steps in nats, the weighted mean over jets.

        That of the objective `refusal` is the cross entropy of jets that are true or drawn.
        """
        if self.refusal is not None and objective == "refusal":
            return self._loss_of_refusal(self.refusal, batch)
        gen, reco = self._sides(batch)
        observed = Observed.of(gen, reco, self.detector, self.config.most_left)
        return self._steps().loss(observed, batch.weight)

    def _loss_of_refusal(self, refusal: Refusal, batch: Batch) -> Tensor:
        # Drawing takes longer than learning from a jet; a part of a batch is enough.
        jets = -(-len(batch.weight) // LEARNED) if self.training else len(batch.weight)
        batch = batch.map(lambda side: side[:jets])
        gen, reco = self._sides(batch)
        sizes = self._sizes
        numbers = torch.randn(jets, sizes.normal), torch.rand(jets, sizes.uniform)
        with torch.no_grad():
            drawn, _ = self._drawn(gen, torch.cat(numbers, dim=1).numpy())
        return refusal.loss(gen, reco, Particles.of(drawn), batch.weight)

    def _sides(self, batch: Batch) -> tuple[Particles, Particles]:
        """Return GEN and RECO particles."""
        gen, reco = (
            Particles.of(out_of_slots(side, self.slots)) for side in (batch.condition, batch.target)
        )
        return gen, reco

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Return constituents [jets, slots x 5], those of highest pt if there are too many."""
        fields, numbers = out_of_slots(condition, self.slots), noise.detach().cpu().numpy()
        normal, uniform = np.split(numbers, [self.noise.normal], axis=1)
        out = np.zeros((len(fields), self.slots, FIELDS), np.float32)
        rows, sizes = np.arange(len(fields)), self._sizes
        for attempt in range(self._attempts):
            gen = Particles.of(fields[rows])
            lanes = [
                side[rows, attempt * size : (attempt + 1) * size]
                for side, size in ((normal, sizes.normal), (uniform, sizes.uniform))
            ]
            out[rows], accepted = self._drawn(gen, np.concatenate(lanes, axis=1))
            if self.refusal is None or attempt + 1 == self._attempts:
                break
            rows = rows[~self.refusal.accepts(gen, Particles.of(out[rows]), accepted)]
        return torch.from_numpy(out.reshape(len(out), -1)).to(condition.device)

    @property
    def _attempts(self) -> int:
        """How often a jet is drawn at most."""
        return ATTEMPTS if self.refusal else 1

    @property
    def _sizes(self) -> Noise:
        """Random numbers of one attempt."""
        return Draws.sizes(self.config.most_left, self.slots)

    def _drawn(
        self, gen: Particles, noise: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return jets [jets, slots, 5], and a uniform number of each."""
        draws = Draws.of(noise, self.config.most_left, self.slots)
        made = simulate(self._steps(), gen, draws, self.detector)
        return in_slots(made, gen.jets, self.slots, self.config.radius), draws.accepted

    def _steps(self) -> Steps:
        steps: Mapping[str, nn.Module] = dict(self.steps.items())
        return Steps(steps)
