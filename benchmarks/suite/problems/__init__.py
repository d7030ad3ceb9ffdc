"""The benchmark's problems. `names()` lists them, `load(name)` makes one; a family's file is named beside its names below.

`known.json` holds the two ends of normalised regret for each problem, made by `known.py`.
"""

import json
from functools import lru_cache
from pathlib import Path

from . import source
from .base import Problem

__all__ = ["Problem", "load", "names", "core", "split", "SUITE"]

KNOWN = Path(__file__).with_name("known.json")
SPLIT = Path(__file__).resolve().parent.parent / "split.json"


def suite_names():
    """The 42 tasks of recorded and modelled runs, by name, in the order of `suite.json`."""
    names = {}
    for task in source.suite():
        name = {
            "yahpo": lambda t: f"{t['model']}-{t['instance']}-{t['target']}",
            "tables": lambda t: t["model"],
            "curves": lambda t: f"taskset-{t['model']}",
            "pool": lambda t: f"pool-{t['model']}",
            "trees": lambda t: f"trees-{t['model']}",
        }[task["suite"]](task)
        names[name] = task
    return names


SUITE = suite_names()


def names(group="suite"):
    """The problems of a group:

    suite        the 42 recorded and modelled tasks        core         12 of them, for slow optimisers
    curves       those of the 42 that are recorded learning curves
    development  half of the suite: to develop against     held_back    the other half: to report on
    functions, mixed, conditional, noisy, constrained, multiobjective, bbob, bbob10, tables-noisy     made from formulas
    training     real, small training jobs
    """
    if group in ("suite", "all"):
        return list(SUITE)
    if group == "curves":
        return [name for name, task in SUITE.items() if task["suite"] == "curves"]
    if group in ("core", "development", "held_back"):
        return list(split()[group])
    from . import families

    return families.names(group)


def core():
    """The 12 tasks on which slow optimisers are run."""
    return names("core")


@lru_cache(None)
def split():
    return json.loads(SPLIT.read_text())


@lru_cache(None)
def known():
    return json.loads(KNOWN.read_text()) if KNOWN.exists() else {}


@lru_cache(None)
def load(name):
    """The problem of that name; also any "<scenario>-<instance>-<target>" the YAHPO models know, though then without the ends of
    normalised regret unless `known.json` has them."""
    problem = make(name)
    ends = known().get(name, {})
    task = SUITE.get(name, {})
    problem.best_known = task.get("best_known", ends.get("best_known", problem.best_known))
    problem.random_median = task.get("random_median", ends.get("random_median", problem.random_median))
    problem.reference = ends.get("reference", problem.reference)
    return problem


def make(name):
    from . import recorded

    plain = name.removesuffix("-noisy")
    task = SUITE.get(plain, {"suite": None})
    if task["suite"] == "tables":
        return recorded.Table(plain, noisy=name != plain)
    if task["suite"] == "curves":
        return recorded.Curves(task["model"])
    if task["suite"] == "pool":
        return recorded.Pool(task["model"])
    if task["suite"] == "trees":
        return recorded.Trees()
    if name.split("-")[0] in recorded.YAHPO_FIDELITY and name.count("-") == 2:
        return recorded.Yahpo(*name.split("-"))
    from . import families

    return families.make(name)
