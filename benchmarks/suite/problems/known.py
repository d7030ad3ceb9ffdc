"""Fills in `known.json`: for each problem the best known value, and the median of 10,000 uniformly random points (fewer where a
point costs a training run). Samples that are finite are enumerated; functions know their optimum. `python3 -m problems.known [NAME ...]`, run in `benchmarks/suite`."""

import json
import random
import statistics
import sys

from . import KNOWN, SUITE, load, names, source
from .space import random_point

POINTS = 10_000


def random_median(problem, points=POINTS):
    rng = random.Random(20260101)
    values = []
    for trial in range(points):
        result = problem.evaluate(random_point(problem.space, rng), seed=trial)
        value = (result.get("truth") or result["values"])[0]
        if all(c <= 0 for c in result.get("constraints", [])):
            values.append(value)
    return statistics.median(values), (min if problem.direction == "min" else max)(values)


def ends(name):
    problem = load(name)
    median, best_drawn = random_median(problem, getattr(problem, "known_points", POINTS))
    best = problem.best_known
    if best is None:
        best = enumerated(problem)
    if best is None:
        best = best_drawn
    return {"best_known": best, "random_median": median}


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
    for name in wanted or [n for n in SUITE if "best_known" not in SUITE[n]]:
        known[name] = ends(name)
        print(name, known[name], file=sys.stderr)
        KNOWN.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
