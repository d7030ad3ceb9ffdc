"""Spaces and points in terms of the package ConfigSpace, for the optimisers that use it (SMAC, DEHB).

Choices and levels go by their position, as text: ConfigSpace takes True, 1 and 1.0 for the same value.
"""

import ConfigSpace
from ConfigSpace.conditions import InCondition


def configuration_space(space, seed):
    """The space with its conditions."""
    found = ConfigSpace.ConfigurationSpace(seed=seed)
    nodes = {parameter["name"]: node(parameter) for parameter in space}
    found.add(list(nodes.values()))
    choices = {parameter["name"]: parameter.get("choices") for parameter in space}
    for parameter in space:
        if "condition" in parameter:
            parent = parameter["condition"]["parent"]
            values = [place(choices[parent], value) for value in parameter["condition"]["values"]]
            found.add(InCondition(nodes[parameter["name"]], nodes[parent], values))
    return found


def node(parameter):
    name, kind = parameter["name"], parameter["type"]
    if kind in ("categorical", "ordinal"):
        places = [place(parameter["choices"], choice) for choice in parameter["choices"]]
        if kind == "categorical":
            return ConfigSpace.CategoricalHyperparameter(name, places)
        return ConfigSpace.OrdinalHyperparameter(name, places)
    low, high, log = parameter["low"], parameter["high"], parameter.get("log", False)
    if kind == "int":
        return ConfigSpace.UniformIntegerHyperparameter(name, low, high, log=log)
    return ConfigSpace.UniformFloatHyperparameter(name, low, high, log=log)


def place(choices, value):
    return f"#{choices.index(value)}"


def point_of(space, configuration):
    """The active values of a configuration, in the terms of `space`."""
    chosen = dict(configuration)
    point = {}
    for parameter in space:
        name = parameter["name"]
        if name not in chosen:
            continue
        value = chosen[name]
        if "choices" in parameter:
            point[name] = parameter["choices"][int(value[1:])]
        else:
            point[name] = int(value) if parameter["type"] == "int" else float(value)
    return point
