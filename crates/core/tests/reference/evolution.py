"""Writes evolution.json: operators and selections of other implementations, for the tests of Luthier's evolutionary samplers.

Run it with Optuna 5.0, pymoo 0.6.1 and scipy 1.17:

    python evolution.py

Where an operator draws random numbers, they are fed: `u` of simulated binary crossover is 0.5 at most for a value nearer
the parents' outside, as in the papers. Selections are of points without ties.
"""

import json
import pathlib
import warnings

import numpy as np
import optuna
import pymoo
import scipy
from optuna.samplers._nsgaiii._elite_population_selection_strategy import (
    _associate_individuals_with_reference_points,
)
from optuna.samplers.nsgaii import SBXCrossover
from optuna.samplers.nsgaii._elite_population_selection_strategy import NSGAIIElitePopulationSelectionStrategy
from optuna.samplers.nsgaii._mutations._polynomial import PolynomialMutation
from pymoo.algorithms.moo.nsga3 import HyperplaneNormalization
from scipy.optimize._differentialevolution import DifferentialEvolutionSolver
from scipy.stats import qmc

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
rng = np.random.default_rng(20260202)


class Fed:
    """A generator whose draws are given."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def rand(self, n=None):
        draw = self.draws.pop(0)
        return draw if n is None else np.array([draw] * n)


def crossed(a, b, eta, u):
    # Crossed and not swapped; then the first child, or the second.
    cube = np.array([[0.0, 1.0]])
    child = lambda last: SBXCrossover(eta=eta).crossover(
        np.array([[a], [b]]), Fed(u, 0.0, 0.9, last), None, cube
    )[0]
    return [child(0.1), child(0.9)]


binary = []
for _ in range(40):
    a, b, u = rng.random(3).round(6).tolist()
    eta = float(rng.choice([0.0, 2.0, 15.0, 20.0]))
    binary.append({"a": a, "b": b, "eta": eta, "u": u, "children": crossed(a, b, eta, u)})

polynomial = []
for _ in range(40):
    x, u = rng.random(2).round(6).tolist()
    eta = float(rng.choice([0.0, 5.0, 20.0]))
    moved = PolynomialMutation(eta=eta).mutation(x, Fed(u), None, np.array([0.0, 1.0]))
    polynomial.append({"x": x, "eta": eta, "u": u, "moved": float(moved)})

solver = DifferentialEvolutionSolver(lambda x: 0.0, [(0, 1)] * 4, popsize=3, rng=1, mutation=0.7)
solver.scale = 0.7
differences = []
for _ in range(5):
    samples = rng.permutation(len(solver.population))[:5]
    members = solver.population[samples]
    differences.append({
        "members": members.tolist(),
        "best": solver.population[0].tolist(),
        "scale": 0.7,
        "rand1": solver._rand1(samples).tolist(),
        "current_to_best1": solver._currenttobest1(int(samples[4]), samples).tolist(),
    })

survivors = []
for n, m, size in [(40, 2, 20), (40, 3, 20), (30, 1, 12)]:
    losses = rng.random((n, m)).round(6)
    trials = [optuna.trial.create_trial(values=list(row)) for row in losses]
    for number, trial in enumerate(trials):
        trial.number = number
    study = optuna.create_study(directions=["minimize"] * m)
    chosen = NSGAIIElitePopulationSelectionStrategy(population_size=size)(study, trials)
    survivors.append({
        "losses": losses.tolist(), "size": size, "chosen": sorted(trial.number for trial in chosen)
    })

frames = []
for m in [2, 3, 5]:
    frame, updates = HyperplaneNormalization(m), []
    for k in range(3):
        x = np.abs(rng.normal(size=(20, m))) + 0.02
        losses = (x / np.linalg.norm(x, axis=1, keepdims=True) * (2 - 0.3 * k) * np.arange(1, m + 1)).round(6)
        frame.update(losses, nds=np.arange(12))
        updates.append({
            "losses": losses.tolist(), "front": 12, "ideal": frame.ideal_point.tolist(),
            "extremes": frame.extreme_points.tolist(), "nadir": frame.nadir_point.tolist(),
        })
    frames.append(updates)

niches = []
for m in [2, 3, 4]:
    directions, points = rng.random((8, m)).round(3), rng.random((10, m)).round(3)
    nearest, distances = _associate_individuals_with_reference_points(points, directions)
    niches.append({
        "directions": directions.tolist(), "points": points.tolist(), "nearest": nearest.tolist(),
        "distances": distances.tolist(),
    })

halton = qmc.Halton(12, scramble=False).random(40).tolist()

found = {
    "versions": {"optuna": optuna.__version__, "pymoo": pymoo.__version__, "scipy": scipy.__version__},
    "binary": binary, "polynomial": polynomial, "differences": differences, "survivors": survivors,
    "frames": frames, "niches": niches, "halton": halton,
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
