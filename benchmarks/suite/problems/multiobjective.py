"""Problems of several objectives: ZDT (Zitzler, Deb, Thiele 2000), DTLZ (Deb et al. 2002), WFG (Huband et al. 2006, by pymoo), and a
network that should be accurate and quick to train.

They are judged by hypervolume up to a reference point: in each objective, the upper quartile of 1,000 random points, or a tenth beyond the true front (`known.json`).
"""

import math

from .base import Problem
from .functions import box


class Several(Problem):
    """Losses of a point of the unit cube, or of `space`. `front`: makes losses on the true front; `optimum(reference)`: its hypervolume;
    `nadir`: the worst of each loss on it. All None where it is not known."""

    def __init__(self, name, space, objectives, formula, front=None, optimum=None, nadir=None):
        super().__init__(name=name, family="multiobjective", space=space, objectives=objectives)
        self.formula, self.front, self.optimum, self.nadir = formula, front, optimum, nadir

    def evaluate(self, params, budget=None, seed=0):
        return {"values": [float(value) for value in self.formula(params)], "seconds": None}


def losses(count):
    return [{"name": f"f{i}", "direction": "min"} for i in range(count)]


def values(params):
    return [params[f"x{i}"] for i in range(len(params))]


def zdt(kind):
    def formula(params):
        x = values(params)
        n = len(x)
        first = 1 - math.exp(-4 * x[0]) * math.sin(6 * math.pi * x[0]) ** 6 if kind == 6 else x[0]
        if kind == 4:
            # Published on [-5, 5] for all but the first.
            rest = [10 * v - 5 for v in x[1:]]
            g = 1 + 10 * (n - 1) + sum(v * v - 10 * math.cos(4 * math.pi * v) for v in rest)
        elif kind == 6:
            g = 1 + 9 * (sum(x[1:]) / (n - 1)) ** 0.25
        else:
            g = 1 + 9 * sum(x[1:]) / (n - 1)
        return [first, g * shape(kind, first, g)]

    return formula


def shape(kind, first, g):
    ratio = first / g
    if kind in (1, 4):
        return 1 - math.sqrt(ratio)
    if kind == 3:
        return 1 - math.sqrt(ratio) - ratio * math.sin(10 * math.pi * first)
    return 1 - ratio**2


def zdt_front(kind, points=4001):
    firsts = [i / (points - 1) for i in range(points)]
    if kind == 6:
        lowest = min(1 - math.exp(-4 * x) * math.sin(6 * math.pi * x) ** 6 for x in firsts)
        firsts = [lowest + (1 - lowest) * x for x in firsts]
    return [(first, shape(kind, first, 1.0)) for first in firsts]


def dtlz1(params):
    x = values(params)
    tail = x[2:]
    g = 100 * (len(tail) + sum((v - 0.5) ** 2 - math.cos(20 * math.pi * (v - 0.5)) for v in tail))
    return [0.5 * (1 + g) * x[0] * x[1], 0.5 * (1 + g) * x[0] * (1 - x[1]), 0.5 * (1 + g) * (1 - x[0])]


def dtlz2(params):
    x = values(params)
    g = sum((v - 0.5) ** 2 for v in x[2:])
    a, b = x[0] * math.pi / 2, x[1] * math.pi / 2
    return [(1 + g) * math.cos(a) * math.cos(b), (1 + g) * math.cos(a) * math.sin(b), (1 + g) * math.sin(a)]


def wfg(kind, dimensions=8):
    """By pymoo, which is asked for when the problem is first evaluated. Its variables lie in [0, 2 i]."""
    state = []

    def formula(params):
        if not state:
            import pymoo.problems

            state.append(pymoo.problems.get_problem(f"wfg{kind}", n_var=dimensions, n_obj=2))
        import numpy

        return state[0].evaluate(numpy.array([values(params)]))[0]

    return formula


def wfg_front(points=4001):
    """Of WFG 4 to 9 with two objectives: a quarter of an ellipse with half-axes 2 and 4."""
    angles = [i / (points - 1) * math.pi / 2 for i in range(points)]
    return [(2 * math.sin(a), 4 * math.cos(a)) for a in angles]


def accurate_and_quick(instance):
    """An lcbench network: accuracy up, training seconds down."""
    from .recorded import Yahpo

    inner = Yahpo("lcbench", instance, "val_accuracy")

    def formula(params):
        result = inner.evaluate(params)
        return [result["values"][0], result["seconds"]]

    objectives = [{"name": "val_accuracy", "direction": "max"}, {"name": "seconds", "direction": "min"}]
    return Several(f"lcbench_{instance}_time", inner.space, objectives, formula)


def problems():
    found = {}
    for kind in (1, 2, 3, 4, 6):
        found[f"zdt{kind}"] = lambda kind=kind: Several(
            f"zdt{kind}", box(10, 0, 1), losses(2), zdt(kind), front=lambda: zdt_front(kind), nadir=(1.0, 1.0)
        )
    # Above a simplex of side 1/2, and outside an eighth of the unit ball.
    found["dtlz1"] = lambda: Several(
        "dtlz1", box(6, 0, 1), losses(3), dtlz1, optimum=lambda r: math.prod(r) - 0.5**3 / 6, nadir=(0.5,) * 3
    )
    found["dtlz2"] = lambda: Several(
        "dtlz2", box(8, 0, 1), losses(3), dtlz2, optimum=lambda r: math.prod(r) - math.pi / 6, nadir=(1.0,) * 3
    )
    for kind in (4, 6, 9):
        space = [{"name": f"x{i}", "type": "float", "low": 0.0, "high": 2.0 * (i + 1)} for i in range(8)]
        found[f"wfg{kind}"] = lambda kind=kind, space=space: Several(
            f"wfg{kind}", space, losses(2), wfg(kind), front=wfg_front, nadir=(2.0, 4.0)
        )
    for instance in ("189906", "167168"):
        found[f"lcbench_{instance}_time"] = lambda instance=instance: accurate_and_quick(instance)
    return found
