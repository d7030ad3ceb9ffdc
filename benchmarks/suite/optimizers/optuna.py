"""Optuna: TPE (its default), Gaussian process, CMA-ES, NSGA-II, and AutoSampler of OptunaHub, define-by-run, so that conditions are native.

An ordinal is the integer index of its level, as Optuna has no ordered categories. Everything else keeps its own scale.
AutoSampler is not part of the package: it is loaded from a copy of the OptunaHub registry that LUTHIER_OPTUNAHUB names, else
from `optunahub-registry` beside the environments (LUTHIER_PEERS, which `install.sh` fetches), else from the hub, which needs the network.

With several fidelities the sampler is paired with `HyperbandPruner` of default settings, told how far a full run goes; see `_rungs.py` for when
it judges.
"""

import os
import warnings
from pathlib import Path

import optuna

from ._rungs import steps
from .base import PEERS
from .base import Optimizer as Base

# The registry's commit; `install.sh` has it too.
REGISTRY = "ee680199100edbd95e0000eb20696c3ec5505973"

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class Optimizer(Base):
    variants = ("tpe", "gp", "cmaes", "auto", "nsga2")
    constraints = True
    objectives = None
    fidelity = True
    several = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space, self.seed, self.variant = space, seed, variant
        self.directions = ["minimize" if o["direction"] == "min" else "maximize" for o in objectives]
        self.study = self.new_study(pruner=None)

    def new_study(self, pruner):
        # A fixed name: Hyperband deals trials to its brackets by a hash of it.
        return optuna.create_study(
            directions=self.directions, sampler=sampler(self.variant, self.seed), pruner=pruner, study_name=f"run-{self.seed}"
        )

    @staticmethod
    def version():
        return f"optuna {optuna.__version__}"

    def ask(self):
        self.asked = self.study.ask()
        return suggest(self.asked, self.space)

    def tell(self, params, values, constraints=()):
        if values is None:
            self.study.tell(self.asked, state=optuna.trial.TrialState.FAIL)
            return
        for number, value in enumerate(constraints):
            self.asked.set_constraint(f"c{number}", value)
        self.study.tell(self.asked, values)

    def start_fidelity(self, fidelity, budget_total):
        self.steps = steps(fidelity)
        self.study = self.new_study(optuna.pruners.HyperbandPruner(max_resource=max(self.steps)))
        self.running = None

    def ask_fidelity(self):
        if self.running is None:
            self.running = self.study.ask()
            self.params = suggest(self.running, self.space)
            self.left = sorted(self.steps)
        return self.running.number, self.params, self.steps[self.left[0]]

    def tell_fidelity(self, key, params, budget, value):
        if value is None:
            self.study.tell(self.running, state=optuna.trial.TrialState.FAIL)
            self.running = None
            return
        self.running.report(value, self.left.pop(0))
        if not self.left:
            self.study.tell(self.running, value)
            self.running = None
        elif self.running.should_prune():
            self.study.tell(self.running, state=optuna.trial.TrialState.PRUNED)
            self.running = None


def sampler(variant, seed):
    if variant == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if variant == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if variant == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if variant == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    return auto_sampler_module().AutoSampler(seed=seed)


def auto_sampler_module():
    import optunahub

    beside = PEERS / "optunahub-registry"
    registry = os.environ.get("LUTHIER_OPTUNAHUB") or (beside if beside.is_dir() else None)
    if registry:
        return optunahub.load_local_module("samplers/auto_sampler", registry_root=str(Path(registry) / "package"))
    return optunahub.load_module("samplers/auto_sampler", ref=REGISTRY)


def suggest(trial, space):
    """Asks for the parameters that are active, parents first."""
    point = {}
    for parameter in space:
        condition = parameter.get("condition")
        if condition and point.get(condition["parent"], Base) not in condition["values"]:
            continue
        point[parameter["name"]] = suggest_one(trial, parameter)
    return point


def suggest_one(trial, parameter):
    name, kind = parameter["name"], parameter["type"]
    if kind == "categorical":
        return trial.suggest_categorical(name, parameter["choices"])
    if kind == "ordinal":
        return parameter["choices"][trial.suggest_int(name, 0, len(parameter["choices"]) - 1)]
    log = parameter.get("log", False)
    if kind == "int":
        return trial.suggest_int(name, parameter["low"], parameter["high"], step=parameter.get("step") or 1, log=log)
    return trial.suggest_float(name, parameter["low"], parameter["high"], step=parameter.get("step"), log=log)
