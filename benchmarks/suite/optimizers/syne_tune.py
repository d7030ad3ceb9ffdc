"""Syne Tune: on full runs BoTorch, conformal quantile regression (CQR), BORE and regularised evolution; with several fidelities ASHA,
BOHB and ASHA with CQR, in their stopping form. It knows no conditions. See `_rungs.py` for when schedulers judge.
"""

import datetime
import logging
import random
import warnings
from importlib.metadata import version

import numpy as np
from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer import baselines
from syne_tune.optimizer.scheduler import SchedulerDecision

from ._rungs import steps
from .base import Optimizer as Base

warnings.filterwarnings("ignore")
logging.getLogger("syne_tune").setLevel(logging.ERROR)

FULL = {"cqr": "CQR", "botorch": "BOTorch", "bore": "BORE", "rea": "REA"}
SEVERAL = {"asha": "ASHA", "bohb": "BOHB", "ashacqr": "ASHACQR"}


class Optimizer(Base):
    variants = (*FULL, *SEVERAL)
    conditions = False
    fidelity = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space, self.seed, self.variant = space, seed, variant
        self.minimize = objectives[0]["direction"] == "min"
        np.random.seed(seed)
        random.seed(seed)
        if "botorch" in variant:
            import torch

            torch.manual_seed(seed)
            torch.set_num_threads(1)
        self.count = 0
        if variant in FULL:
            kind = getattr(baselines, FULL[variant])
            self.scheduler = kind(self.domains(), "value", do_minimize=self.minimize, random_seed=seed)

    def domains(self):
        return {parameter["name"]: domain(parameter) for parameter in self.space}

    @staticmethod
    def version():
        return f"syne-tune {version('syne-tune')}"

    def ask(self):
        # A fixed time: nothing may depend on the clock.
        suggestion = self.scheduler.suggest()
        self.trial = Trial(self.count, suggestion.config, datetime.datetime(2026, 1, 1))
        self.scheduler.on_trial_add(self.trial)
        self.count += 1
        return {p["name"]: plain(p, suggestion.config[p["name"]]) for p in self.space}

    def tell(self, params, values, constraints=()):
        if values is None:
            self.scheduler.on_trial_error(self.trial)
        else:
            self.scheduler.on_trial_complete(self.trial, {"value": values[0]})

    def start_fidelity(self, fidelity, budget_total):
        self.steps = steps(fidelity)
        kind = getattr(baselines, SEVERAL[self.variant])
        self.scheduler = kind(
            self.domains(), "value", time_attr="step", max_t=max(self.steps), do_minimize=self.minimize, random_seed=self.seed
        )
        self.left = []

    def ask_fidelity(self):
        if not self.left:
            self.params, self.left = self.ask(), sorted(self.steps)
        return self.trial.trial_id, self.params, self.steps[self.left[0]]

    def tell_fidelity(self, key, params, budget, value):
        if value is None:
            self.scheduler.on_trial_error(self.trial)
            self.left = []
            return
        result = {"value": value, "step": self.left.pop(0)}
        if not self.left:
            self.scheduler.on_trial_complete(self.trial, result)
        elif self.scheduler.on_trial_result(self.trial, result) == SchedulerDecision.STOP:
            self.left = []


def domain(parameter):
    kind, log = parameter["type"], parameter.get("log", False)
    if "choices" in parameter:
        places = [str(index) for index in range(len(parameter["choices"]))]
        return config_space.ordinal(places, kind="equal") if kind == "ordinal" else config_space.choice(places)
    if kind == "int":
        return (config_space.lograndint if log else config_space.randint)(parameter["low"], parameter["high"])
    return (config_space.loguniform if log else config_space.uniform)(parameter["low"], parameter["high"])


def plain(parameter, value):
    if "choices" in parameter:
        return parameter["choices"][int(value)]
    value = min(max(value, parameter["low"]), parameter["high"])
    return int(value) if parameter["type"] == "int" else float(value)
