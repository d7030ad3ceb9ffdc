"""Writes learning_curves.json: learning curves of real and modelled training runs, for the test of the scheduler `forecast`.

Run it with an environment that has benchmarks/suite/requirements.txt:

    python learning_curves.py

Sixty random configurations of each task of the suite's development half that can be trained step by step; losses at steps 1, 2, 4, 8, 16, 32 and
at the last, smaller is better, five significant digits.
"""

import json
import math
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
SUITE = HERE.parents[3] / "benchmarks" / "suite"
sys.path.insert(0, str(SUITE))

from problems import load  # noqa: E402

STEPS, CURVES = (1, 2, 4, 8, 16, 32), 60


def draw(space, rng):
    return {entry["name"]: value(entry, rng) for entry in space}


def value(entry, rng):
    if entry["type"] in ("categorical", "ordinal"):
        return entry["choices"][rng.integers(len(entry["choices"]))]
    low, high, share = entry["low"], entry["high"], rng.uniform()
    if entry.get("log"):
        drawn = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        drawn = low + share * (high - low)
    return int(round(drawn)) if entry["type"] == "int" else drawn


def main():
    rng = np.random.default_rng(0)
    tasks = []
    for name in json.loads((SUITE / "split.json").read_text())["development"]:
        problem = load(name)
        if not problem.fidelity or not problem.fidelity["continues"]:
            continue
        sign = 1 if problem.objectives[0]["direction"] == "min" else -1
        curves = []
        for _ in range(CURVES):
            losses = [sign * value for _, value in problem.curve(draw(problem.space, rng))]
            curves.append([float(f"{losses[step - 1]:.5g}") for step in STEPS] + [float(f"{losses[-1]:.5g}")])
        tasks.append({"task": name, "curves": curves})
    rows = ",\n".join(json.dumps(task, separators=(",", ":")) for task in tasks)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(f'{{"source":"benchmarks/suite; written by learning_curves.py",\n"tasks":[\n{rows}]}}\n')
    print(f"{path.name}: {path.stat().st_size} bytes, {len(tasks)} tasks")


if __name__ == "__main__":
    main()
