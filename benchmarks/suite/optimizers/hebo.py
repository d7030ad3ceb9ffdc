"""HEBO: a warped Gaussian process with a Pareto ensemble of acquisitions. It knows no conditions; an ordinal is the integer index of
its level, a logarithmic integer is `pow_int`. Failed trials are told as NaN, which HEBO leaves out."""

import random
import warnings
from importlib.metadata import version

import numpy as np
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.optimizers.hebo import HEBO
from pymoo.config import Config

from .base import Optimizer as Base

Config.warnings["not_compiled"] = False
warnings.filterwarnings("ignore")
torch.set_num_threads(1)


class Optimizer(Base):
    conditions = False

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space = space
        self.sign = 1.0 if objectives[0]["direction"] == "min" else -1.0
        np.random.seed(seed)
        random.seed(seed)
        torch.manual_seed(seed)
        self.hebo = HEBO(DesignSpace().parse([entry(parameter) for parameter in space]), scramble_seed=seed)

    @staticmethod
    def version():
        return f"HEBO {version('HEBO')}"

    def ask(self):
        self.row = self.hebo.suggest(1)
        return {p["name"]: plain(p, self.row[p["name"]].iloc[0]) for p in self.space}

    def tell(self, params, values, constraints=()):
        loss = float("nan") if values is None else self.sign * values[0]
        self.hebo.observe(self.row, np.array([[loss]]))


def entry(parameter):
    name, kind, log = parameter["name"], parameter["type"], parameter.get("log", False)
    if kind == "categorical":
        return {"name": name, "type": "cat", "categories": list(range(len(parameter["choices"])))}
    if kind == "ordinal":
        return {"name": name, "type": "int", "lb": 0, "ub": len(parameter["choices"]) - 1}
    bounds = {"name": name, "lb": parameter["low"], "ub": parameter["high"]}
    if kind == "int":
        return {**bounds, "type": "pow_int" if log else "int", **({"base": 10} if log else {})}
    return {**bounds, "type": "pow" if log else "num", **({"base": 10} if log else {})}


def plain(parameter, value):
    if "choices" in parameter:
        return parameter["choices"][int(value)]
    value = min(max(value, parameter["low"]), parameter["high"])
    return int(value) if parameter["type"] == "int" else float(value)
