"""Search spaces as plain data, and what can be said of them without knowing any optimiser.

A space is a list of parameters. A parameter is a dict with

    name       str
    type       "float" | "int" | "categorical" | "ordinal"
    low, high  both ends are inside the range (float and int)
    log        True for a logarithmic scale (float and int; absent means False)
    step       distance of the allowed values from `low` (float and int; absent means any)
    choices    list of str, int, float or bool (categorical: no order; ordinal: in order)
    condition  {"parent": name, "values": [...]}: the parameter exists only where its parent exists and has one of
               these values; absent means always

Parents stand before their children. A point is a dict from the names of its active parameters to values.
"""

import math


def is_active(parameter, point):
    """Whether `parameter` exists, given the values of the parameters before it in `point`."""
    condition = parameter.get("condition")
    if condition is None:
        return True
    return condition["parent"] in point and point[condition["parent"]] in condition["values"]


def only_active(space, point):
    """`point` without the values of parameters that do not exist in it."""
    kept = {}
    for parameter in space:
        if is_active(parameter, kept):
            kept[parameter["name"]] = point[parameter["name"]]
    return kept


def from_unit(parameter, u):
    """The value at `u` in [0, 1) of a parameter's range, uniform on its own scale."""
    if "choices" in parameter:
        choices = parameter["choices"]
        return choices[min(int(u * len(choices)), len(choices) - 1)]
    low, high, step = parameter["low"], parameter["high"], parameter.get("step")
    whole = parameter["type"] == "int"
    # An integer owns half a unit on either side, so that both ends are as likely as the others.
    below, above = (low - 0.5, high + 0.5) if whole else (low, high)
    if parameter.get("log"):
        below = max(below, 0.5) if whole else below
        value = math.exp(math.log(below) + u * (math.log(above) - math.log(below)))
    else:
        value = below + u * (above - below)
    if step:
        value = low + round((value - low) / step) * step
    if whole:
        return int(min(max(math.floor(value + 0.5), low), high))
    return min(max(value, low), high)


def to_unit(parameter, value):
    """Where `value` lies in [0, 1] on the parameter's own scale; choices by their position."""
    if "choices" in parameter:
        return parameter["choices"].index(value) / max(len(parameter["choices"]) - 1, 1)
    low, high = parameter["low"], parameter["high"]
    if parameter.get("log"):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.0


def random_point(space, rng):
    """A point drawn uniformly, each parameter on its own scale. `rng` is a `random.Random`."""
    point = {}
    for parameter in space:
        if is_active(parameter, point):
            point[parameter["name"]] = from_unit(parameter, rng.random())
    return point


def check(space, point):
    """Raises `ValueError`, naming the parameter, if `point` is not in `space`."""
    left = dict(point)
    seen = {}
    for parameter in space:
        name = parameter["name"]
        if not is_active(parameter, seen):
            continue
        if name not in left:
            raise ValueError(f"{name}: missing")
        value = seen[name] = left.pop(name)
        if "choices" in parameter:
            if value not in parameter["choices"]:
                raise ValueError(f"{name}: {value!r} is none of {parameter['choices']}")
            continue
        # Optimisers that work on logarithms come back within rounding of the ends.
        slack = 1e-9 * (abs(parameter["low"]) + abs(parameter["high"]))
        if not parameter["low"] - slack <= value <= parameter["high"] + slack:
            raise ValueError(f"{name}: {value!r} is outside {parameter['low']} … {parameter['high']}")
        if parameter["type"] == "int" and value != int(value):
            raise ValueError(f"{name}: {value!r} is not whole")
    if left:
        raise ValueError(f"{', '.join(left)}: not active here, or not in the space")
