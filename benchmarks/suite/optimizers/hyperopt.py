"""Hyperopt: TPE, adaptive TPE, random. Conditions are nested choices.

A parameter that exists under several values of its parent is one node of the expression, shared by these branches. Integers and
the levels of an ordinal are `quniform` or `qloguniform` over half a unit more at either end, then clipped, so that the ends
are as likely as the others (`uniformint` halves them, and adaptive TPE cannot read it).
"""

import datetime
import random
from importlib.metadata import version

import hyperopt
import numpy as np
from hyperopt import hp

from .base import Optimizer as Base


class Optimizer(Base):
    variants = ("tpe", "atpe", "random")
    several = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space = space
        self.sign = 1.0 if objectives[0]["direction"] == "min" else -1.0
        self.rng = np.random.default_rng(seed)
        # Adaptive TPE draws from the global generators as well.
        np.random.seed(seed)
        random.seed(seed)
        self.domain = hyperopt.base.Domain(lambda point: 0.0, expression(space))
        self.trials = hyperopt.Trials()
        self.suggest = algorithm(variant)

    @staticmethod
    def version():
        return f"hyperopt {version('hyperopt')}"

    def ask(self):
        ids = self.trials.new_trial_ids(1)
        self.trials.refresh()
        self.asked = self.suggest(ids, self.domain, self.trials, int(self.rng.integers(2**31 - 1)))[0]
        chosen = {name: values[0] for name, values in self.asked["misc"]["vals"].items() if len(values)}
        return point_of(self.space, chosen)

    def tell(self, params, values, constraints=()):
        failed = values is None
        self.asked["state"] = hyperopt.JOB_STATE_DONE
        # Adaptive TPE reads how long a trial took (and makes nothing of it); a real clock would be a source of chance.
        self.asked["book_time"] = self.asked["refresh_time"] = datetime.datetime(2026, 1, 1)
        self.asked["result"] = (
            {"status": hyperopt.STATUS_FAIL} if failed else {"status": hyperopt.STATUS_OK, "loss": self.sign * values[0]}
        )
        self.trials.insert_trial_docs([self.asked])
        self.trials.refresh()


def algorithm(variant):
    if variant == "atpe":
        from hyperopt import atpe

        return atpe.suggest
    return {"tpe": hyperopt.tpe.suggest, "random": hyperopt.rand.suggest}[variant]


def expression(space):
    """The space as a list of expressions, children inside the choices of their parents."""
    nodes = {}
    for parameter in reversed(space):
        nodes[parameter["name"]] = node(parameter, children(space, parameter["name"], nodes))
    return {p["name"]: nodes[p["name"]] for p in space if "condition" not in p}


def children(space, parent, nodes):
    """{value of the parent: {child: its node}}."""
    found = {}
    for parameter in space:
        condition = parameter.get("condition")
        if condition and condition["parent"] == parent:
            for value in condition["values"]:
                found.setdefault(value, {})[parameter["name"]] = nodes[parameter["name"]]
    return found


def node(parameter, inside):
    name, kind = parameter["name"], parameter["type"]
    if kind == "categorical":
        return hp.choice(name, [inside.get(choice, index) for index, choice in enumerate(parameter["choices"])])
    if kind == "ordinal":
        return hp.quniform(name, -0.5, len(parameter["choices"]) - 0.5, 1)
    low, high, step = parameter["low"], parameter["high"], parameter.get("step")
    if kind == "int" and not parameter.get("log"):
        return hp.quniform(name, low - (step or 1) / 2, high + (step or 1) / 2, step or 1)
    if kind == "int":
        return hp.qloguniform(name, np.log(low - 0.5), np.log(high + 0.5), step or 1)
    if parameter.get("log"):
        return hp.loguniform(name, np.log(low), np.log(high))
    return hp.quniform(name, low, high, step) if step else hp.uniform(name, low, high)


def point_of(space, chosen):
    """A point from what Hyperopt chose: the index of a choice, a number otherwise. Rounding may step over an end."""
    point = {}
    for parameter in space:
        condition = parameter.get("condition")
        if condition and point.get(condition["parent"], Base) not in condition["values"]:
            continue
        value = chosen[parameter["name"]]
        if "choices" in parameter:
            point[parameter["name"]] = parameter["choices"][min(max(int(round(value)), 0), len(parameter["choices"]) - 1)]
            continue
        value = min(max(value, parameter["low"]), parameter["high"])
        point[parameter["name"]] = int(round(value)) if parameter["type"] == "int" else float(value)
    return point
