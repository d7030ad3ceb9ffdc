"""NePS: Bayesian optimisation on full runs; with several fidelities PriorBand and Hyperband. It knows no conditions.

No priors are given, so PriorBand's prior is uniform. An ordinal is the integer index of its level.
"""

import logging
import random
import warnings
from importlib.metadata import version

import neps
import numpy as np
import torch
from neps.space import HPOCategorical, HPOFloat, HPOInteger, SearchSpace

from .base import Optimizer as Base

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)


class Optimizer(Base):
    variants = ("bo", "priorband", "hyperband")
    conditions = False
    fidelity = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space, self.variant = space, variant
        self.sign = 1.0 if objectives[0]["direction"] == "min" else -1.0
        np.random.seed(seed)
        random.seed(seed)
        torch.manual_seed(seed)
        if variant == "bo":
            self.run = neps.AskAndTell(neps.algorithms.bayesian_optimization(self.nodes()))

    def nodes(self, **more):
        return SearchSpace({parameter["name"]: node(parameter) for parameter in self.space} | more)

    @staticmethod
    def version():
        return f"neural-pipeline-search {version('neural-pipeline-search')}"

    def ask(self):
        self.trial = self.run.ask()
        return {p["name"]: plain(p, self.trial.config[p["name"]]) for p in self.space}

    def tell(self, params, values, constraints=()):
        self.run.tell(self.trial, RuntimeError("failed") if values is None else self.sign * values[0])

    def start_fidelity(self, fidelity, budget_total):
        low = fidelity["low"] if fidelity["continues"] else max(fidelity["high"] / 27, fidelity["low"])
        kind = HPOInteger if fidelity["type"] == "int" else HPOFloat
        budget = kind(low, fidelity["high"], is_fidelity=True)
        self.budget = fidelity["name"]
        known = {"priorband": neps.algorithms.priorband, "hyperband": neps.algorithms.hyperband}
        if self.variant not in known:
            raise ValueError(f"neps:{self.variant} knows no fidelities; {' and '.join(f'neps:{name}' for name in known)} do")
        algorithm = known[self.variant]
        self.run = neps.AskAndTell(algorithm(self.nodes(**{self.budget: budget})))

    def ask_fidelity(self):
        params = self.ask()
        # "7_2" is configuration 7 at rung 2.
        return self.trial.id.split("_")[0], params, self.trial.config[self.budget]

    def tell_fidelity(self, key, params, budget, value):
        self.tell(params, None if value is None else [value])


def node(parameter):
    kind = parameter["type"]
    if kind == "categorical":
        return HPOCategorical([str(index) for index in range(len(parameter["choices"]))])
    if kind == "ordinal":
        return HPOInteger(0, len(parameter["choices"]) - 1)
    return (HPOInteger if kind == "int" else HPOFloat)(parameter["low"], parameter["high"], log=parameter.get("log", False))


def plain(parameter, value):
    if "choices" in parameter:
        return parameter["choices"][int(value)]
    value = min(max(value, parameter["low"]), parameter["high"])
    return int(value) if parameter["type"] == "int" else float(value)
