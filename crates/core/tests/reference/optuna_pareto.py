"""Writes optuna_pareto.json: fronts, crowding distances, hypervolumes, subsets and directions by Optuna, for the tests of
Luthier's `pareto`.

Run it with the environment that `benchmarks/peers/install.sh` makes (Optuna's version is pinned there):

    python optuna_pareto.py

Losses have few digits, so that there are ties and equal points. Subsets are of points without ties in volume.
"""

import json
import pathlib
import warnings

import numpy as np
import optuna
from optuna._hypervolume import compute_hypervolume
from optuna._hypervolume.hssp import _solve_hssp
from optuna.samplers._nsgaiii._elite_population_selection_strategy import _generate_default_reference_point
from optuna.samplers.nsgaii._elite_population_selection_strategy import _calc_crowding_distance
from optuna.study._multi_objective import _fast_non_domination_rank

warnings.filterwarnings("ignore")
rng = np.random.default_rng(20260101)


def coarse(n, m, digits):
    return np.round(rng.random((n, m)), digits)


def sphere(n, m):
    """Points near a spherical front, all different."""
    x = np.abs(rng.normal(size=(n, m)))
    return np.round(1 - 0.9 * x / np.linalg.norm(x, axis=1, keepdims=True) * (1 - 0.1 * rng.random((n, 1))), 6)


def trials(losses):
    return [optuna.trial.create_trial(values=list(row)) for row in losses]


def crowding(losses):
    population = trials(losses)
    for number, trial in enumerate(population):
        trial.number = number
    found = _calc_crowding_distance(list(population))
    return [None if np.isinf(found[k]) else found[k] for k in range(len(losses))]


fronts = []
for n, m, digits in [(1, 2, 1), (30, 1, 1), (40, 2, 1), (60, 2, 3), (40, 3, 1), (50, 4, 1), (50, 6, 2)]:
    losses = coarse(n, m, digits)
    violations = np.round(rng.normal(size=n), 1)
    fronts.append({
        "losses": losses.tolist(),
        "violations": violations.tolist(),
        "ranks": _fast_non_domination_rank(losses).tolist(),
        "constrained": _fast_non_domination_rank(losses, penalty=violations).tolist(),
    })

crowded = [{"losses": x.tolist(), "distances": crowding(x)} for x in [sphere(9, 2), sphere(12, 3), sphere(10, 5)]]

volumes = []
for m, n in [(1, 5), (2, 25), (3, 25), (4, 20), (5, 16), (6, 12)]:
    for losses in [sphere(n, m), coarse(n, m, 1)]:
        reference = np.full(m, 1.1)
        inside = losses[np.all(losses < reference, axis=1)]
        volumes.append({
            "losses": losses.tolist(),
            "reference": reference.tolist(),
            "volume": compute_hypervolume(inside, reference),
        })

subsets = []
for m, n, count in [(2, 20, 7), (3, 20, 7), (4, 16, 6)]:
    losses, reference = sphere(n, m), np.full(m, 1.1)
    chosen = _solve_hssp(losses, np.arange(n), count, reference)
    subsets.append({
        "losses": losses.tolist(), "reference": reference.tolist(), "chosen": sorted(map(int, chosen))
    })

directions = []
for m, h in [(2, 5), (3, 4), (4, 3)]:
    points = _generate_default_reference_point(m, h) / h
    directions.append({"objectives": m, "divisions": h, "points": sorted(points.tolist())})

found = {
    "optuna": optuna.__version__, "fronts": fronts, "crowded": crowded, "volumes": volumes, "subsets": subsets,
    "directions": directions,
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
