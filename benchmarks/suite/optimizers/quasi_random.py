"""Quasi-random search: a scrambled Sobol sequence, or a Halton one, over the whole space; inactive values are dropped by the loop."""

import scipy
from problems.space import from_unit
from scipy.stats import qmc

from .base import Optimizer as Base


class Optimizer(Base):
    variants = ("sobol", "halton")
    conditions = False
    constraints = True
    objectives = None
    several = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        kind = {"sobol": qmc.Sobol, "halton": qmc.Halton}[variant]
        self.space, self.sequence = space, kind(len(space), scramble=True, rng=seed)

    @staticmethod
    def version():
        return f"scipy {scipy.__version__}"

    def ask(self):
        # 1.0 can come out of rounding; the range is half open.
        units = [min(u, 1.0 - 1e-12) for u in self.sequence.random(1)[0]]
        return {parameter["name"]: from_unit(parameter, u) for parameter, u in zip(self.space, units)}

    def tell(self, params, values, constraints=()):
        pass
