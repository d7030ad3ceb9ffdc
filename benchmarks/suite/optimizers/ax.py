"""Ax: its default generation strategy (the centre, Sobol points, then BoTorch's noisy log EI).

Conditions are Ax's dependent parameters where they form a tree, that is where each parameter depends on one value of its parent; else
everything is always active, and the loop drops inactive values.
"""

import logging
import random
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore")

import ax
from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

from .base import Optimizer as Base

logging.disable(logging.WARNING)
torch.set_num_threads(1)


class Optimizer(Base):
    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space = space
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.client = Client(random_seed=seed)
        is_tree = all(len(parameter["condition"]["values"]) == 1 for parameter in space if "condition" in parameter)
        self.client.configure_experiment(parameters=[config(parameter, space if is_tree else []) for parameter in space])
        self.client.configure_optimization("value" if objectives[0]["direction"] == "max" else "-value")
        self.client.configure_generation_strategy(initialization_random_seed=seed)

    @staticmethod
    def version():
        return f"ax-platform {ax.__version__}"

    def ask(self):
        ((self.index, asked),) = self.client.get_next_trials(max_trials=1).items()
        return {p["name"]: plain(p, asked[p["name"]]) for p in self.space if p["name"] in asked}

    def tell(self, params, values, constraints=()):
        if values is None:
            self.client.mark_trial_failed(self.index)
        else:
            self.client.complete_trial(self.index, raw_data={"value": values[0]})


def config(parameter, space):
    name, kind = parameter["name"], parameter["type"]
    if "choices" not in parameter:
        scaling = "log" if parameter.get("log") else "linear"
        return RangeParameterConfig(name, (parameter["low"], parameter["high"]), kind, scaling=scaling)
    dependent = {}
    for child in space:
        condition = child.get("condition")
        if condition and condition["parent"] == name:
            for value in condition["values"]:
                dependent.setdefault(parameter["choices"].index(value), []).append(child["name"])
    places = list(range(len(parameter["choices"])))
    return ChoiceParameterConfig(name, places, "int", is_ordered=kind == "ordinal", dependent_parameters=dependent or None)


def plain(parameter, value):
    if "choices" in parameter:
        return parameter["choices"][int(value)]
    value = min(max(value, parameter["low"]), parameter["high"])
    return int(value) if parameter["type"] == "int" else float(value)
