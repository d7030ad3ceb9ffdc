"""Luthier, through its Python door. A variant is a sampler's name, with options after a question mark: `luthier:tpe`,
`luthier:tpe?gamma=0.15&startup=5`. With several fidelities the option `scheduler`, a name or a JSON table, is the scheduler's; without it that
of `SCHEDULERS` is taken, else the default one. On full runs a study is told the number of trials, by which some samplers set themselves up.
LUTHIER_LIBRARY may name a built library of the door, so that a working copy is measured without being installed; else what the repository
has built in release mode is taken, else the installed package."""

import importlib.machinery
import importlib.util
import json
import os
import sys
from pathlib import Path

from .base import Optimizer as Base

ROOT = Path(__file__).resolve().parents[3]
# Of a fidelity that is a share (of the training set), in steps: a power of three, since rungs are.
STEPS_OF_A_SHARE = 27
# Samplers that are half of a method, each with the scheduler that the guide names. Pausing is no harm here, so trials are promoted.
SCHEDULERS = {
    "bohb": {"name": "hyperband", "mode": "promote"},
    "dehb": {"name": "hyperband", "mode": "fresh"},
    "priorband": {"name": "hyperband", "mode": "promote"},
}
# Samplers without a row, and why.
LEFT_OUT = {
    "grid": "visits all combinations of a few values; there are more of them than trials",
    "manual": "tries what a user enqueues, nothing else",
}


def library():
    """The built door to load, or None if the installed package is meant."""
    named = os.environ.get("LUTHIER_LIBRARY")
    if named:
        if not Path(named).exists():
            raise ImportError(f"LUTHIER_LIBRARY names {named}, which does not exist")
        return Path(named)
    for name in ("libluthier_python.so", "libluthier_python.dylib"):
        built = ROOT / "target" / "release" / name
        if built.exists():
            return built
    return None


def load():
    """The package `luthier`, with the wanted library as its native part."""
    if "luthier" not in sys.modules and (native := library()):
        sys.path.insert(0, str(ROOT / "python"))
        loader = importlib.machinery.ExtensionFileLoader("luthier._core", str(native))
        spec = importlib.util.spec_from_file_location("luthier._core", native, loader=loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules["luthier._core"] = module
        loader.exec_module(module)
    import luthier

    return luthier


luthier = load()


class Optimizer(Base):
    variants = tuple(entry[0] for entry in luthier.samplers() if entry[0] not in LEFT_OUT)

    @classmethod
    def has(cls, variant):
        """Any sampler with any options."""
        return variant.partition("?")[0] in {entry[0] for entry in luthier.samplers()}

    constraints = True
    objectives = None
    fidelity = True
    several = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space = luthier.Space([parameter_of(entry) for entry in space])
        self.objectives, self.seed, self.trials, self.sampler = objectives, seed, budget_trials, sampler_of(variant)
        own = SCHEDULERS.get(variant.partition("?")[0])
        self.scheduler = self.sampler.pop("scheduler", own) if isinstance(self.sampler, dict) else own
        self.study = None

    @staticmethod
    def version():
        return f"luthier {luthier.__version__}"

    def start(self, constraints=0, **more):
        self.names = [f"g{i}" for i in range(constraints)]
        goals = {entry["name"]: {"min": "minimize", "max": "maximize"}[entry["direction"]] for entry in self.objectives}
        self.study = luthier.Study(
            self.space, objectives=goals, constraints=self.names or None, sampler=self.sampler, seed=self.seed, **more
        )

    def expect_constraints(self, count):
        self.start(count, scheduler="run_all", trials=self.trials)

    def ask(self):
        if self.study is None:
            self.start(scheduler="run_all", trials=self.trials)
        self.asked = self.study.ask()
        if self.asked is None:
            raise RuntimeError("Luthier has nothing left to try")
        return self.asked.params

    def tell(self, params, values, constraints=()):
        if values is None:
            self.asked.fail("the trial failed", seconds=self.seconds)
            return
        told = {entry["name"]: value for entry, value in zip(self.objectives, values)}
        self.asked.tell(told | dict(zip(self.names, constraints)), seconds=self.seconds)

    def start_fidelity(self, fidelity, budget_total):
        self.fidelity_of = fidelity
        whole = fidelity["type"] == "int"
        self.steps = fidelity["high"] if whole else STEPS_OF_A_SHARE
        self.running = None
        # Runs here go on where they were, or pay for going there again: pausing is no harm.
        self.start(max_budget=self.steps, resumes=True, **({"scheduler": self.scheduler} if self.scheduler else {}))

    def ask_fidelity(self):
        if self.running is None:
            self.running = self.study.ask()
            if self.running is None:
                raise RuntimeError("Luthier has nothing left to try")
            self.at = self.running.step
        trial = self.running
        until = min(trial.budget or self.steps, self.steps)
        # A run that goes on reports every step; one that starts again is worth a report only at its end.
        self.at = self.at + 1 if self.fidelity_of["continues"] else until
        budget = self.at if self.fidelity_of["type"] == "int" else max(self.at / self.steps, self.fidelity_of["low"])
        return trial.number, trial.params, budget

    def tell_fidelity(self, key, params, budget, value):
        trial = self.running
        if value is None:
            trial.fail("the trial failed")
            self.running = None
            return
        said = trial.report(self.at, {self.objectives[0]["name"]: value})
        if said != "continue":
            self.running = None
        elif self.at >= self.steps:
            trial.tell()
            self.running = None


def sampler_of(variant):
    name, _, options = variant.partition("?")
    if not options:
        return name
    chosen = {"name": name}
    for option in options.split("&"):
        key, _, text = option.partition("=")
        try:
            chosen[key] = json.loads(text)
        except ValueError:
            chosen[key] = text
    return chosen


def parameter_of(entry):
    condition = entry.get("condition")
    when = {"when": {"param": condition["parent"], "in": condition["values"]}} if condition else {}
    if entry["type"] == "ordinal":
        return luthier.Ordinal(entry["name"], entry["choices"], **when)
    if entry["type"] == "categorical":
        return luthier.Categorical(entry["name"], entry["choices"], **when)
    kind = luthier.Float if entry["type"] == "float" else luthier.Int
    more = {"log": True} if entry.get("log") else {}
    more |= {"step": entry["step"]} if entry.get("step") else {}
    return kind(entry["name"], entry["low"], entry["high"], **more, **when)
