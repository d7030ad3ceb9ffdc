"""CPU time per ask and tell on the ten-parameter mixed space (four logarithmic floats, three integers, three categories), Luthier and Optuna
in turn in one process. Prints and keeps `{name: {"luthier": ms, "optuna": ms, "ratio": [least, greatest of the rounds]}}`; nothing is timed by
the wall clock."""

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from problems import load
from problems.space import random_point

FIGURES = Path(__file__).resolve().parent / "report" / "cpu.json"
PROBLEM = "mixed10"


def main(names, rounds=3, into=FIGURES):
    """Measures the named figures, or all, and merges them into the file."""
    figures = json.loads(into.read_text()) if into.exists() else {}
    for name, measure in FIGURES_BY_NAME.items():
        if names and name not in names:
            continue
        try:
            figures[name] = measure(rounds)
        except Exception as error:  # a sampler that is not there is a missing figure, not the end
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        print(f"{name}: " + ", ".join(described(*entry) for entry in figures[name].items()), flush=True)
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_text(json.dumps(figures, indent=1) + "\n")


def described(key, value):
    return f"{key} {value[0]:.4g} … {value[1]:.4g}" if key == "ratio" else f"{key} {value:.4g} ms"


def after(history, asks):
    """TPE's mean over `asks` asks after `history` finished trials; the median of the rounds."""

    def measure(rounds):
        luthier, optuna = [], []
        for round_ in range(rounds):
            luthier.append(filled_luthier("tpe", history, round_).mean(asks * 10))
            if history <= 10_000:
                optuna.append(filled_optuna("tpe", history, round_).mean(asks))
        found = {"luthier": statistics.median(luthier)}
        ratios = [theirs / ours for ours, theirs in zip(luthier, optuna)]
        return found | ({"optuna": statistics.median(optuna), "ratio": [min(ratios), max(ratios)]} if optuna else {})

    return measure


def from_the_start(sampler, asks, peer):
    """Mean over the first `asks` asks."""

    def measure(rounds):
        found = {"luthier": statistics.median(filled_luthier(sampler, 0, round_).mean(asks) for round_ in range(rounds))}
        return found | ({"optuna": filled_optuna(peer, 0, 0).mean(asks)} if peer else {})

    return measure


# What auto's trials are said to take. Sums of 0.1 may end below so many tenths, and trials under 0.1 s count as longer ones to auto.
HUNDRED_MS = 0.1 + 1e-6


def auto_beside_trials(history, asks, kind="plain", seconds=HUNDRED_MS):
    """Auto's mean over `asks` asks after `history` trials, each said to have taken so many seconds; the largest of the rounds."""

    def measure(rounds):
        return {"luthier": max(filled_luthier("auto", history, round_, seconds, kind).mean(asks) for round_ in range(rounds))}

    return measure


FIGURES_BY_NAME = {
    "tpe@1000": after(1_000, 30),
    "tpe@10000": after(10_000, 20),
    "tpe@100000": after(100_000, 5),
    "auto@100ms": auto_beside_trials(0, 300),
    "auto@100ms-2000": auto_beside_trials(2_000, 100),
    "auto@100ms-10000": auto_beside_trials(10_000, 100),
    "auto@100ms-failed": auto_beside_trials(2_000, 100, "failed"),
    "auto@100ms-constraint": auto_beside_trials(0, 300, "constraint"),
    "auto@100ms-objectives": auto_beside_trials(0, 300, "objectives"),
    # After 2,000 trials of 100 ms there is no time for Gaussian processes; after as many of 1 s there is.
    "auto@1s-failed": auto_beside_trials(2_000, 50, "failed", 1.0),
    "auto@1s-constraint": auto_beside_trials(2_000, 50, "constraint", 1.0),
    "auto@1s-objectives": auto_beside_trials(2_000, 50, "objectives", 1.0),
    "gp@1-300": from_the_start("gp", 300, "gp"),
}


class Loop:
    """ask and tell, repeated. `told`: what is told of params."""

    def __init__(self, ask, tell, told):
        self.ask, self.tell, self.told = ask, tell, told

    def mean(self, asks):
        """Milliseconds of CPU for an ask and a tell."""
        spent = 0.0
        for _ in range(asks):
            begin = time.process_time()
            trial, params = self.ask()
            spent += time.process_time() - begin
            told = self.told(params)
            begin = time.process_time()
            self.tell(trial, told)
            spent += time.process_time() - begin
        return 1000.0 * spent / asks


def value_of(params):
    return load(PROBLEM).evaluate(params)["values"][0]


def size_of(params):
    return params["layers"] * params["units"]


@dataclass
class Kind:
    """A kind of study that Luthier is measured on: its settings, what it is told of params, and how many trials fail before any ends."""

    settings: dict
    told: Callable
    failures: int = 0


ONE_OBJECTIVE = {"direction": "minimize"}
KINDS = {
    "plain": Kind(ONE_OBJECTIVE, value_of),
    "failed": Kind(ONE_OBJECTIVE, value_of, failures=1),
    # Three of four random points keep it.
    "constraint": Kind(
        {"objectives": {"value": "minimize"}, "constraints": ["excess"]},
        lambda params: {"value": value_of(params), "excess": size_of(params) - 1000},
    ),
    "objectives": Kind(
        {"objectives": {"value": "minimize", "size": "minimize"}},
        lambda params: {"value": value_of(params), "size": size_of(params)},
    ),
}


def history_of(length, seed):
    space, rng = load(PROBLEM).space, random.Random(seed)
    return [random_point(space, rng) for _ in range(length)]


# From here on a history is made with random search and handed to the sampler through a file, since a sampler that is asked for each of
# its trials keeps its models up to date, which is not what is measured. The file then costs some of what is measured.
THROUGH_A_FILE = 20_000


def filled_luthier(sampler, history, seed, seconds=60.0, kind="plain"):
    from optimizers.luthier import luthier, parameter_of, sampler_of

    space = luthier.Space([parameter_of(entry) for entry in load(PROBLEM).space])
    of_kind = KINDS[kind]
    settings = of_kind.settings | {"scheduler": "run_all", "seed": seed}
    points = [(params, of_kind.told(params)) for params in history_of(history, seed)]
    if history < THROUGH_A_FILE:
        study = luthier.Study(space, sampler=sampler_of(sampler), **settings)
        fill(study, points, seconds, of_kind.failures)
    else:
        file = Path(tempfile.mkdtemp()) / "history.luthier"
        with luthier.Study(space, sampler="random", storage=file, **settings) as study:
            fill(study, points, seconds, of_kind.failures)
        study = luthier.Study(space, sampler=sampler_of(sampler), storage=file, **settings)
        # The first ask reads the file and fits from nothing.
        trial = study.ask()
        trial.tell(of_kind.told(trial.params), seconds=seconds)

    def ask():
        trial = study.ask()
        return trial, trial.params

    return Loop(ask, lambda trial, values: trial.tell(values, seconds=seconds), of_kind.told)


def fill(study, points, seconds, failures):
    for _ in range(failures):
        study.ask().fail("the trial failed", seconds=seconds)
    for params, values in points:
        study.enqueue(params)
        study.ask().tell(values, seconds=seconds)


def filled_optuna(sampler, history, seed):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}
    study = optuna.create_study(sampler=kinds[sampler](seed=seed))
    space = {entry["name"]: distribution(entry) for entry in load(PROBLEM).space}
    for params in history_of(history, seed):
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value_of(params)))

    def ask():
        trial = study.ask(space)
        return trial, trial.params

    return Loop(ask, study.tell, value_of)


def distribution(entry):
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in entry:
        return CategoricalDistribution(entry["choices"])
    kind = FloatDistribution if entry["type"] == "float" else IntDistribution
    return kind(entry["low"], entry["high"], log=bool(entry.get("log")))
