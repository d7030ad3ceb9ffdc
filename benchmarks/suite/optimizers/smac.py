"""SMAC3: the facade for hyperparameter optimisation (a random forest), the black-box one (a Gaussian process), and, with several
fidelities, the multi-fidelity one (Hyperband with a random forest). Conditions are ConfigSpace's.

`deterministic=True`: each configuration is run once, as for every other optimiser here; SMAC's default would repeat
good ones with other seeds. Its log of runs is not written to disk after each trial.
"""

import logging
import tempfile
from importlib.metadata import version

import smac
from smac.runhistory.dataclasses import TrialValue
from smac.runhistory.enumerations import StatusType

from ._config_space import configuration_space, point_of
from .base import Optimizer as Base

FACADES = {
    "hpo": smac.HyperparameterOptimizationFacade,
    "blackbox": smac.BlackBoxFacade,
    "multifidelity": smac.MultiFidelityFacade,
}


class Optimizer(Base):
    variants = ("hpo", "blackbox", "multifidelity")
    fidelity = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space, self.seed, self.variant, self.budget_trials = space, seed, variant, budget_trials
        self.sign = 1.0 if objectives[0]["direction"] == "min" else -1.0
        self.facade = None if variant == "multifidelity" else self.new_facade()

    def new_facade(self, **budgets):
        self.folder = tempfile.TemporaryDirectory()
        scenario = smac.Scenario(
            configuration_space(self.space, self.seed),
            n_trials=self.budget_trials,
            deterministic=True,
            seed=self.seed,
            output_directory=self.folder.name,
            **budgets,
        )
        return FACADES[self.variant](scenario, target, logging_level=logging.ERROR, overwrite=True)

    @staticmethod
    def version():
        return f"smac {version('smac')}"

    def ask(self):
        self.info = self.facade.ask()
        return point_of(self.space, self.info.config)

    def tell(self, params, values, constraints=()):
        self.facade.tell(self.info, self.outcome(values[0] if values else None), save=False)

    def outcome(self, value):
        if value is None:
            return TrialValue(cost=float("inf"), status=StatusType.CRASHED)
        return TrialValue(cost=self.sign * value)

    def start_fidelity(self, fidelity, budget_total):
        # SMAC counts evaluations of any size: so many that it is the loop that ends the run.
        self.budget_trials = 100 * int(budget_total)
        low = fidelity["high"] / 27 if not fidelity["continues"] else fidelity["low"]
        self.facade = self.new_facade(min_budget=max(low, fidelity["low"]), max_budget=fidelity["high"])
        self.whole, self.keys = fidelity["type"] == "int", {}

    def ask_fidelity(self):
        params = self.ask()
        key = self.keys.setdefault(self.info.config, len(self.keys))
        return key, params, round(self.info.budget) if self.whole else self.info.budget

    def tell_fidelity(self, key, params, budget, value):
        self.tell(params, None if value is None else [value])


def target(config, seed=0, budget=None):
    """The facade wants a function; the loop here asks and tells instead."""
    raise NotImplementedError
