"""Which file makes which further problems. `names` and `make` raise `KeyError` for what there is not."""

from . import bbob, functions, multiobjective, training
from .source import suite

TABLES = [task["model"] for task in suite() if task["suite"] == "tables"]


def groups():
    """{group: {name: a function that makes the problem}}."""
    return {
        "functions": functions.classic(),
        "mixed": functions.mixed(),
        "conditional": functions.conditional(),
        "noisy": functions.noisy(),
        "constrained": functions.constrained(),
        "multiobjective": multiobjective.problems(),
        "training": training.problems(),
        "bbob": {name: lambda name=name: bbob.make(name) for name in bbob.names(5)},
        "bbob10": {name: lambda name=name: bbob.make(name) for name in bbob.names(10)},
    }


def names(group):
    if group == "tables-noisy":
        return [f"{model}-noisy" for model in TABLES]
    return list(groups()[group])


def make(name):
    if name.startswith("bbob-"):
        return bbob.make(name)
    for group in groups().values():
        if name in group:
            return group[name]()
    raise KeyError(f"no problem named {name}")
