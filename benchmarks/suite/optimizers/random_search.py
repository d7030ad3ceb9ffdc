"""Uniform random search, each parameter on its own scale: the yardstick of every measure."""

import random

from problems.space import random_point

from .base import Optimizer as Base


class Optimizer(Base):
    variants = ("uniform",)
    constraints = True
    objectives = None
    several = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space, self.rng = space, random.Random(seed)

    @staticmethod
    def version():
        return "uniform random search of this suite"

    def ask(self):
        return random_point(self.space, self.rng)

    def tell(self, params, values, constraints=()):
        pass
