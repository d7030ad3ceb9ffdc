"""The 24 noiseless BBOB functions (Hansen et al. 2009) by the package `coco-experiment`. Names are `bbob-f<1…24>-d<dimensions>-i<instance>`;
the group `bbob` is all 24 in 5 dimensions, `bbob10` in 10."""

from .base import Problem


class Bbob(Problem):
    def __init__(self, function, dimensions, instance):
        super().__init__(
            name=f"bbob-f{function}-d{dimensions}-i{instance}",
            family="bbob",
            space=[{"name": f"x{i}", "type": "float", "low": -5.0, "high": 5.0} for i in range(dimensions)],
            objectives=[{"name": "value", "direction": "min"}],
        )
        import cocoex

        self.function = cocoex.BareProblem("bbob", function, dimensions, instance)
        best = self.function.best_value
        self.best_known = float(best() if callable(best) else best)

    def evaluate(self, params, budget=None, seed=0):
        return {"values": [float(self.function([params[p["name"]] for p in self.space]))], "seconds": None}


def make(name):
    _, function, dimensions, instance = name.split("-")
    return Bbob(int(function[1:]), int(dimensions[1:]), int(instance[1:]))


def names(dimensions):
    return [f"bbob-f{function}-d{dimensions}-i1" for function in range(1, 25)]
