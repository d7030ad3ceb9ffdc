"""Chances to gain more and the regret left along made-up curves, by the second implementation in benchmarks/convergence/chance.py: prints
convergence.json.

Run: python3 convergence.py > convergence.json
"""

import json
import math
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "benchmarks" / "convergence"))

import chance as model


def curves():
    draw = random.Random(7)
    yield [draw.random() for _ in range(60)]
    yield [draw.gauss(0, 1) * math.exp(-k / 40) for k in range(120)]
    # Values of few kinds, and trials without one.
    yield [None if k % 5 == 3 else round(draw.random(), 1) for k in range(80)]
    # Nothing is ever gained.
    yield [1.0] * 40
    yield [-3.0 - k for k in range(30)]
    # A lucky first trial.
    yield [-5.0] + [draw.random() for _ in range(40)]
    # Too few values to go by.
    yield [None] * 20 + [1.0, 2.0, 0.5, 3.0]


def case(values):
    losses = [math.nan if value is None else value for value in values]
    course = model.Course(losses)
    rows = []
    for trials in (1, 50, 1000):
        for epsilon in (0.0, 0.001, 0.1, 2.0):
            rows.append({"trials": trials, "epsilon": epsilon, "chance": model.chance(course, trials, epsilon)})
    return {"losses": values, "chances": rows, "regret": model.regret_left(course), "progress": course.progress}


print(json.dumps([case(values) for values in curves()], indent=1))
