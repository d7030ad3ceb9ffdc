"""Nevergrad's NGOpt, which chooses an algorithm from the space and the number of trials.

The space is flat: a choice among sub-spaces would be laid out as one vector of all of them anyway. An ordinal is the integer index of its
level (as `TransitionChoice`, Nevergrad's own notion, NGOpt's regret on a table of nine ordinals was twice as large); an integer
is a scalar, `Log` where it is logarithmic, with integer casting.
"""

import warnings
from importlib.metadata import version

import nevergrad
import numpy as np
from nevergrad import p

from .base import Optimizer as Base

warnings.filterwarnings("ignore")


class Optimizer(Base):
    variants = ("ngopt", "cma")
    conditions = False
    constraints = True
    objectives = None

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.signs = [1.0 if o["direction"] == "min" else -1.0 for o in objectives]
        parametrization = p.Dict(**{parameter["name"]: node(parameter) for parameter in space})
        parametrization.random_state = np.random.RandomState(seed)
        np.random.seed(seed)
        kind = nevergrad.optimizers.registry[{"ngopt": "NGOpt", "cma": "CMA"}[variant]]
        self.optimizer = kind(parametrization, budget=budget_trials, num_workers=1)
        self.ranges = {parameter["name"]: parameter for parameter in space}

    @staticmethod
    def version():
        return f"nevergrad {version('nevergrad')}"

    def ask(self):
        self.candidate = self.optimizer.ask()
        return {name: self.plain(self.ranges[name], value) for name, value in self.candidate.value.items()}

    def tell(self, params, values, constraints=()):
        if values is None:
            self.optimizer.tell(self.candidate, float("inf"))
            return
        losses = [sign * value for sign, value in zip(self.signs, values)]
        loss = losses[0] if len(losses) == 1 else losses
        if constraints:
            # Nevergrad's own penalty for what is above zero.
            self.optimizer.tell(self.candidate, loss, constraint_violation=[max(c, 0.0) for c in constraints])
        else:
            self.optimizer.tell(self.candidate, loss)

    @staticmethod
    def plain(parameter, value):
        if parameter["type"] == "ordinal":
            return parameter["choices"][int(value)]
        if parameter["type"] == "categorical":
            return value
        return int(value) if parameter["type"] == "int" else float(value)


def node(parameter):
    if parameter["type"] == "categorical":
        return p.Choice(parameter["choices"])
    if parameter["type"] == "ordinal":
        return p.Scalar(lower=0, upper=len(parameter["choices"]) - 1).set_integer_casting()
    low, high = parameter["low"], parameter["high"]
    scalar = p.Log(lower=low, upper=high) if parameter.get("log") else p.Scalar(lower=low, upper=high)
    return scalar.set_integer_casting() if parameter["type"] == "int" else scalar
