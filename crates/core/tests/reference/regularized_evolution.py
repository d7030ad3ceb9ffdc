"""Writes regularized_evolution.json: what evolution with regularised age reaches, for the test of that sampler.

    python regularized_evolution.py

Algorithm 1 of Real et al. 2019 (arXiv:1802.01548), written down from the paper: `population` random architectures;
then always the best of `sample` members drawn with replacement has a child that differs from it in one choice, and
the oldest member dies. Needs Python alone. Each case has the mean over RUNS runs of the smallest loss after so many
trials, and the standard error of that mean.

Luthier never tries a point of a discrete space twice. The paper's algorithm does; where `repeats` is false, parent
and child are drawn again until the child is new. In the wide spaces repeats are so rare that this makes no
difference to speak of.
"""

import collections
import json
import math
import pathlib
import random
import statistics

RUNS = 4_000

CASES = [
    {"name": "wide", "parameters": 20, "choices": 10, "population": 20, "sample": 10, "repeats": True,
     "after": [20, 40, 100, 200]},
    {"name": "wide, old", "parameters": 20, "choices": 10, "population": 50, "sample": 3, "repeats": True,
     "after": [50, 100, 200]},
    {"name": "small", "parameters": 4, "choices": 5, "population": 20, "sample": 10, "repeats": False,
     "after": [20, 40, 70]},
]


def loss(point, choices):
    """No two points are equally good; the best has k modulo `choices` for parameter k. Equal neighbours cost more."""
    total = 0.0
    for k, choice in enumerate(point):
        same = k + 1 < len(point) and point[k + 1] == choice
        total += math.sqrt(k + 2) * ((choice - k) % choices / (choices - 1) + same)
    return total


def mutated(parent, choices, draw):
    k = draw.randrange(len(parent))
    other = draw.randrange(choices - 1)
    return (*parent[:k], other + (other >= parent[k]), *parent[k + 1:])


def run(case, seed):
    """The smallest loss so far after each trial."""
    draw = random.Random(seed)
    population, tried, course = collections.deque(), set(), []
    while len(course) < case["after"][-1]:
        if len(course) < case["population"]:
            point = tuple(draw.randrange(case["choices"]) for _ in range(case["parameters"]))
        else:
            while True:
                sample = [draw.choice(population) for _ in range(case["sample"])]
                point = mutated(min(sample)[1], case["choices"], draw)
                if case["repeats"] or point not in tried:
                    break
        tried.add(point)
        population.append((loss(point, case["choices"]), point))
        course.append(min(course[-1:] + [population[-1][0]]))
        if len(population) > case["population"]:
            population.popleft()
    return course


def means(case):
    courses = [run(case, seed) for seed in range(RUNS)]
    reached = lambda trials: [course[trials - 1] for course in courses]
    error = lambda values: statistics.stdev(values) / math.sqrt(len(values))
    return [[trials, statistics.fmean(reached(trials)), error(reached(trials))] for trials in case["after"]]


if __name__ == "__main__":
    found = {"runs": RUNS, "cases": [{**case, "means": means(case)} for case in CASES]}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found, indent=1) + "\n")
