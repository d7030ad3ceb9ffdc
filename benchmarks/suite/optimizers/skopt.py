"""scikit-optimize: a Gaussian process with `gp_hedge`, or extremely randomised trees with EI, as `gp_minimize` and `forest_minimize` have
them by default. It knows no conditions; an ordinal is the integer index of its level. A failed trial is told as the worst
value so far, for it has no notion of failure."""

import warnings

import skopt
from skopt.space import Categorical, Integer, Real

from .base import Optimizer as Base

warnings.filterwarnings("ignore")


class Optimizer(Base):
    variants = ("gp", "forest")
    conditions = False

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space = space
        self.sign = 1.0 if objectives[0]["direction"] == "min" else -1.0
        kind = {"gp": ("GP", "gp_hedge"), "forest": ("ET", "EI")}[variant]
        self.optimizer = skopt.Optimizer(
            [dimension(parameter) for parameter in space], kind[0], n_initial_points=10, acq_func=kind[1], random_state=seed
        )
        self.worst = 0.0

    @staticmethod
    def version():
        return f"scikit-optimize {skopt.__version__}"

    def ask(self):
        self.asked = self.optimizer.ask()
        return {p["name"]: plain(p, value) for p, value in zip(self.space, self.asked)}

    def tell(self, params, values, constraints=()):
        loss = self.worst if values is None else self.sign * values[0]
        self.worst = max(self.worst, loss) if self.optimizer.yi else loss
        self.optimizer.tell(self.asked, loss)


def dimension(parameter):
    name, kind = parameter["name"], parameter["type"]
    if kind == "categorical":
        return Categorical(range(len(parameter["choices"])), name=name)
    if kind == "ordinal":
        return Integer(0, len(parameter["choices"]) - 1, name=name)
    scale = "log-uniform" if parameter.get("log") else "uniform"
    return (Integer if kind == "int" else Real)(parameter["low"], parameter["high"], prior=scale, name=name)


def plain(parameter, value):
    if "choices" in parameter:
        return parameter["choices"][int(value)]
    if parameter["type"] == "int":
        return int(value)
    return min(max(float(value), parameter["low"]), parameter["high"])
