"""Fills in `known.json`: for each problem the best known value, and the median of 10,000 uniformly random points (fewer where a
point costs a training run). Samples that are finite are enumerated; functions know their optimum. `python3 -m problems.known [NAME ...]`, run in `benchmarks/suite`."""

import json
import random
import statistics
import sys

from . import KNOWN, SUITE, load, names
from .hypervolume import Front
from .space import random_point

POINTS = 10_000

GROUPS = ["suite", "tables-noisy", "functions", "mixed", "conditional", "noisy", "constrained", "multiobjective", "training", "bbob", "bbob10"]


def random_median(problem, points=POINTS):
    rng = random.Random(20260101)
    values = []
    for trial in range(points):
        result = problem.evaluate(random_point(problem.space, rng), seed=trial)
        # The noise of 10,000 draws does not move their median by much; a training run is not repeated for it.
        if result["values"] is not None and all(c <= 0 for c in result.get("constraints", [])):
            values.append(result["values"][0])
    return statistics.median(values), (min if problem.direction == "min" else max)(values)


def ends(name):
    problem = load(name)
    if len(problem.objectives) > 1:
        return ends_of_several(problem)
    if problem.family == "training":
        return ends_of_training(problem)
    median, best_drawn = random_median(problem, getattr(problem, "known_points", POINTS))
    best = problem.best_known
    if best is None:
        best = enumerated(problem)
    if best is None:
        best = best_drawn
    return {"best_known": best, "random_median": median}


def ends_of_training(problem):
    """The best is the truth of the ten that looked best among the random points; tuned runs may be better, and then have regret 0."""
    rng = random.Random(20260101)
    drawn = []
    for trial in range(problem.known_points):
        params = random_point(problem.space, rng)
        result = problem.evaluate(params, seed=trial)
        if result["values"] is not None:
            drawn.append((result["values"][0], trial, params))
    best = sorted(drawn, reverse=True)[:10]
    return {
        "best_known": max(problem.truth(params)[0] for *_, params in best),
        "random_median": statistics.median(value for value, *_ in drawn),
    }


def ends_of_several(problem):
    """Reference: upper quartiles of 1,000 random points, but beyond the true front by a tenth of it. Random median: of the hypervolume of ten random points, over 200 such draws."""
    rng = random.Random(20260101)
    signs = [1 if objective["direction"] == "min" else -1 for objective in problem.objectives]
    losses = lambda: [s * v for s, v in zip(signs, problem.evaluate(random_point(problem.space, rng))["values"])]
    drawn = [losses() for _ in range(20_000 if problem.nadir is None else 1_000)]
    reference = [statistics.quantiles(column)[2] for column in zip(*drawn[:1_000])]
    reference = [max(bound, 1.1 * worst) for bound, worst in zip(reference, problem.nadir or reference)]
    if problem.optimum:
        best = problem.optimum(reference)
    else:
        front = Front(reference)
        for point in problem.front() if problem.front else drawn:
            front.add(point)
        best = front.volume
    volumes = []
    for _ in range(200):
        front = Front(reference)
        volumes.append([front.add(losses()) for _ in range(10)][-1])
    return {"best_known": best, "random_median": statistics.median(volumes), "reference": reference}


def enumerated(problem):
    """The best of a finite sample, or None if the problem is not one."""
    for rows in ("error", "losses"):
        if hasattr(problem, rows):
            values = getattr(problem, rows)
            return float((values if values.ndim == 1 else values[:, -1]).min())
    if hasattr(problem, "means"):
        return float(problem.means.min() if problem.direction == "min" else problem.means.max())
    return None


def main(wanted):
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    every = [name for group in GROUPS for name in names(group)]
    for name in wanted or [n for n in every if n not in known and "best_known" not in SUITE.get(n, {})]:
        known[name] = ends(name)
        print(name, known[name], file=sys.stderr)
        KNOWN.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
