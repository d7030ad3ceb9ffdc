"""Test functions with known optima: classic, mixed, noisy, conditional, constrained. Each is written from its published formula.

Functions whose optimum would be at the centre of the box, where many optimisers start, are shifted: coordinate i of the optimum is at
`shifted_optimum(i)` of its range instead.
"""

import math
import random

from .base import Problem

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def shifted_optimum(i):
    """In [0.15, 0.40] or [0.60, 0.85], a different place for each coordinate."""
    u = (0.37 + GOLDEN * i) % 1.0
    return 0.15 + u * 0.5 if u < 0.5 else 0.60 + (u - 0.5) * 0.5


class Function(Problem):
    """A deterministic function of a point, with constraints if `inequalities` returns any."""

    def __init__(self, name, family, space, formula, best, inequalities=None, constraints=()):
        super().__init__(
            name=name, family=family, space=space, objectives=[{"name": "value", "direction": "min"}],
            constraints=list(constraints), best_known=best,
        )  # fmt: skip
        self.formula, self.inequalities = formula, inequalities

    def evaluate(self, params, budget=None, seed=0):
        result = {"values": [float(self.formula(params))], "seconds": None}
        if self.inequalities:
            result["constraints"] = [float(g) for g in self.inequalities(params)]
        return result


class Noisy(Function):
    """A function seen with Gaussian noise of a fixed standard deviation, judged without it."""

    def __init__(self, name, space, formula, best, deviation):
        super().__init__(name, "noisy", space, formula, best)
        self.noisy, self.deviation = True, deviation

    def evaluate(self, params, budget=None, seed=0):
        return {"values": [float(self.formula(params)) + random.Random(seed).gauss(0.0, self.deviation)], "seconds": None}

    def truth(self, params):
        return [float(self.formula(params))]


def floats(bounds, log=False):
    extra = {"log": True} if log else {}
    return [{"name": f"x{i}", "type": "float", "low": low, "high": high, **extra} for i, (low, high) in enumerate(bounds)]


def coordinates(params):
    return [params[f"x{i}"] for i in range(len(params))]


def box(dimensions, low, high):
    return floats([(low, high)] * dimensions)


def moved(function, dimensions, low, high, optimum):
    """The function with its optimum at the shifted place of the box."""
    places = [low + shifted_optimum(i) * (high - low) for i in range(dimensions)]
    return lambda params: function([x - place + optimum for x, place in zip(coordinates(params), places)])


# Formulas, at coordinates as published. Sources: Dixon & Szegő 1978 (Branin, Hartmann), Ackley 1987, Levy & Montalvo 1985,
# Rosenbrock 1960, Griewank 1981, Rastrigin 1974, Styblinski & Tang 1990, Michalewicz 1992.


def branin(x):
    a, b, c, r, s, t = 1.0, 5.1 / (4 * math.pi**2), 5 / math.pi, 6.0, 10.0, 1 / (8 * math.pi)
    return a * (x[1] - b * x[0] ** 2 + c * x[0] - r) ** 2 + s * (1 - t) * math.cos(x[0]) + s


HARTMANN3 = (
    [1.0, 1.2, 3.0, 3.2],
    [[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]],
    [[0.3689, 0.1170, 0.2673], [0.4699, 0.4387, 0.7470], [0.1091, 0.8732, 0.5547], [0.0381, 0.5743, 0.8828]],
)
HARTMANN6 = (
    [1.0, 1.2, 3.0, 3.2],
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]],
    [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ],
)


def hartmann(table):
    alpha, a, p = table
    return lambda x: -sum(
        alpha[i] * math.exp(-sum(a[i][j] * (x[j] - p[i][j]) ** 2 for j in range(len(x)))) for i in range(4)
    )


def ackley(x):
    n = len(x)
    radius = math.sqrt(sum(v * v for v in x) / n)
    return -20 * math.exp(-0.2 * radius) - math.exp(sum(math.cos(2 * math.pi * v) for v in x) / n) + 20 + math.e


def levy(x):
    w = [1 + (v - 1) / 4 for v in x]
    middle = sum((v - 1) ** 2 * (1 + 10 * math.sin(math.pi * v + 1) ** 2) for v in w[:-1])
    return math.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)


def rosenbrock(x):
    return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))


def griewank(x):
    product = math.prod(math.cos(v / math.sqrt(i)) for i, v in enumerate(x, 1))
    return sum(v * v for v in x) / 4000 - product + 1


def rastrigin(x):
    return 10 * len(x) + sum(v * v - 10 * math.cos(2 * math.pi * v) for v in x)


def styblinski_tang(x):
    return sum(v**4 - 16 * v**2 + 5 * v for v in x) / 2


def michalewicz(x):
    return -sum(math.sin(v) * math.sin(i * v * v / math.pi) ** 20 for i, v in enumerate(x, 1))


BRANIN_BOX = floats([(-5, 10), (0, 15)])
BRANIN_BEST = 0.39788735772973816


def at(formula):
    return lambda params: formula(coordinates(params))


def classic():
    found = {}

    def add(name, space, formula, best):
        found[name] = lambda: Function(name, "functions", space, formula, best)

    add("branin", BRANIN_BOX, at(branin), BRANIN_BEST)
    add("hartmann3", box(3, 0, 1), at(hartmann(HARTMANN3)), -3.86277978)
    add("hartmann6", box(6, 0, 1), at(hartmann(HARTMANN6)), -3.32236801)
    for n in (5, 10):
        add(f"ackley{n}", box(n, -32.768, 32.768), moved(ackley, n, -32.768, 32.768, 0.0), 0.0)
        add(f"levy{n}", box(n, -10, 10), moved(levy, n, -10, 10, 1.0), 0.0)
        add(f"rosenbrock{n}", box(n, -5, 10), moved(rosenbrock, n, -5, 10, 1.0), 0.0)
        add(f"griewank{n}", box(n, -600, 600), moved(griewank, n, -600, 600, 0.0), 0.0)
    add("rastrigin5", box(5, -5.12, 5.12), moved(rastrigin, 5, -5.12, 5.12, 0.0), 0.0)
    add("styblinski_tang5", box(5, -5, 5), at(styblinski_tang), 5 * -39.16616570377142)
    add("michalewicz5", box(5, 0, math.pi), at(michalewicz), -4.687658179)
    # Many dimensions, few that matter: the coordinates of Hartmann 6 are 6 of 30.
    add("hartmann6_of_30", box(30, 0, 1), lambda p: hartmann(HARTMANN6)([p[f"x{i}"] for i in range(2, 30, 5)]), -3.32236801)
    return found


# Mixed: numbers on logarithmic and linear scales, integers, categories without order, and interactions between them.


def mixed10(params):
    """Four logarithmic floats, three integers, three categories; the best place of the numbers depends on the categories."""
    effect = {"a": 0.7, "b": 0.0, "c": 1.4, "d": 0.4, "e": 2.0}
    turn = {"left": -1.0, "middle": 0.25, "right": 1.0}
    shape = {"round": 1.0, "square": 1.8}
    direction = turn[params["side"]]
    loss = effect[params["kind"]] + 0.3 * abs(direction - 0.25)
    for i in range(4):
        goal = -3.0 + 0.6 * direction + 0.4 * i
        loss += shape[params["form"]] * 0.2 * (math.log10(params[f"rate{i}"]) - goal) ** 2
    loss += 0.05 * (params["layers"] - 3 - (params["kind"] in "be")) ** 2
    loss += 0.4 * (math.log2(params["units"] / 96.0) / 3.0) ** 2
    return loss + 0.02 * abs(params["depth"] - 7) * (1.0 + (params["form"] == "square"))


def mixed10_space():
    rates = [{"name": f"rate{i}", "type": "float", "low": 1e-6, "high": 1.0, "log": True} for i in range(4)]
    return rates + [
        {"name": "layers", "type": "int", "low": 1, "high": 8},
        {"name": "units", "type": "int", "low": 8, "high": 1024, "log": True},
        {"name": "depth", "type": "int", "low": 1, "high": 20},
        {"name": "kind", "type": "categorical", "choices": list("abcde")},
        {"name": "side", "type": "categorical", "choices": ["left", "middle", "right"]},
        {"name": "form", "type": "categorical", "choices": ["square", "round"]},
    ]


# Where the levels of each category lie: neither in order nor alike.
LEVELS = [[0.2, -2.0, 1.1, 0.0, -0.6], [1.6, 0.0, -1.2, 0.5, 2.2], [-0.8, 2.0, 0.3, -1.5, 0.0], [0.9, -0.3, 0.0, 2.4, -1.8], [2.1, 0.6, -2.3, 0.0, 1.0]]  # fmt: skip


def mixed_ackley(params):
    numbers = [params[f"x{i}"] - (-3 + 6 * shifted_optimum(i)) for i in range(5)]
    return ackley(numbers + [LEVELS[i][int(params[f"c{i}"])] for i in range(5)])


def mixed_ackley_space():
    categories = [{"name": f"c{i}", "type": "categorical", "choices": list("01234")} for i in range(5)]
    return box(5, -3, 3) + categories


def rosenbrock_steps(params):
    """Integers, and floats in steps, in the valley of Rosenbrock's function."""
    return rosenbrock([params["a"], params["b"], params["c"], params["d"]])


def rosenbrock_steps_space():
    return [
        {"name": "a", "type": "int", "low": -4, "high": 9},
        {"name": "b", "type": "float", "low": -4.0, "high": 9.0, "step": 0.25},
        {"name": "c", "type": "int", "low": -4, "high": 9},
        {"name": "d", "type": "float", "low": -4.0, "high": 9.0},
    ]


def mixed():
    return {
        "mixed10": lambda: Function("mixed10", "mixed", mixed10_space(), mixed10, mixed10_best()),
        "mixed_ackley10": lambda: Function("mixed_ackley10", "mixed", mixed_ackley_space(), mixed_ackley, 0.0),
        "rosenbrock_steps": lambda: Function("rosenbrock_steps", "mixed", rosenbrock_steps_space(), rosenbrock_steps, 0.0),
    }


def mixed10_best():
    """Every category and integer at its goal: all terms can vanish but the one of `layers`, which is whole, and does."""
    rates = {f"rate{i}": 10 ** (-3.0 + 0.15 + 0.4 * i) for i in range(4)}
    return mixed10(rates | {"layers": 4, "units": 96, "depth": 7, "kind": "b", "side": "middle", "form": "round"})


# Conditional: parameters that exist under others only.


def jenatton(params):
    """Jenatton et al. 2017, section 5: a binary tree with shared and own parameters."""
    if params["left"]:
        own = params["x4"] ** 2 + 0.1 if params["upper"] else params["x5"] ** 2 + 0.2
        return own + params["r8"]
    own = params["x6"] ** 2 + 0.3 if params["lower"] else params["x7"] ** 2 + 0.4
    return own + params["r9"]


def jenatton_space():
    when = lambda parent, value: {"condition": {"parent": parent, "values": [value]}}
    switch = lambda name, **more: {"name": name, "type": "categorical", "choices": [False, True], **more}
    number = lambda name, low, more: {"name": name, "type": "float", "low": low, "high": 1.0, **more}
    return [
        switch("left"),
        switch("upper", **when("left", True)),
        switch("lower", **when("left", False)),
        number("r8", 0.0, when("left", True)),
        number("r9", 0.0, when("left", False)),
        number("x4", -0.7, when("upper", True)),
        number("x5", -0.7, when("upper", False)),
        number("x6", -0.7, when("lower", True)),
        number("x7", -0.7, when("lower", False)),
    ]


def algorithms(params):
    """A choice of three algorithms, each with its own parameters; the best one is the hardest to tune."""
    if params["algorithm"] == "plain":
        return 0.9 + 0.1 * (math.log10(params["plain_rate"]) + 2) ** 2
    if params["algorithm"] == "branin":
        return 0.5 + branin([15 * params["branin_a"] - 5, 15 * params["branin_b"]]) / 60
    return 3.5 + hartmann(HARTMANN6)([params[f"hartmann_{i}"] for i in range(6)])


def algorithms_space():
    under = lambda value: {"condition": {"parent": "algorithm", "values": [value]}}
    unit = lambda name, value: {"name": name, "type": "float", "low": 0.0, "high": 1.0, **under(value)}
    return [
        {"name": "algorithm", "type": "categorical", "choices": ["plain", "branin", "hartmann"]},
        {"name": "plain_rate", "type": "float", "low": 1e-5, "high": 1.0, "log": True, **under("plain")},
        unit("branin_a", "branin"),
        unit("branin_b", "branin"),
        *[unit(f"hartmann_{i}", "hartmann") for i in range(6)],
    ]


def layers(params):
    """A network of one to four layers, each with a width and a rate of its own; three are best."""
    depth = params["depth"]
    loss = 0.5 * (depth - 3) ** 2
    for i in range(depth):
        loss += (math.log2(params[f"width{i}"]) - 8 + i) ** 2 / 16 + (params[f"rate{i}"] - 0.2 - 0.15 * i) ** 2
    return loss


def layers_space():
    space = [{"name": "depth", "type": "int", "low": 1, "high": 4}]
    for i in range(4):
        condition = {} if i == 0 else {"condition": {"parent": "depth", "values": list(range(i + 1, 5))}}
        space.append({"name": f"width{i}", "type": "int", "low": 8, "high": 1024, "log": True, **condition})
        space.append({"name": f"rate{i}", "type": "float", "low": 0.0, "high": 1.0, **condition})
    return space


def conditional():
    return {
        "jenatton": lambda: Function("jenatton", "conditional", jenatton_space(), jenatton, 0.1),
        "algorithms": lambda: Function("algorithms", "conditional", algorithms_space(), algorithms, 3.5 - 3.32236801),
        "layers": lambda: Function("layers", "conditional", layers_space(), layers, 0.0),
    }


# Noisy: deviations are about a tenth of what a random point differs by.


def noisy():
    return {
        "branin_noisy": lambda: Noisy("branin_noisy", BRANIN_BOX, at(branin), BRANIN_BEST, 5.0),
        "hartmann6_noisy": lambda: Noisy("hartmann6_noisy", box(6, 0, 1), at(hartmann(HARTMANN6)), -3.32236801, 0.1),
        "rosenbrock5_noisy": lambda: Noisy(
            "rosenbrock5_noisy", box(5, -2, 2), moved(rosenbrock, 5, -2, 2, 1.0), 0.0, 50.0
        ),
        "mixed10_noisy": lambda: Noisy("mixed10_noisy", mixed10_space(), mixed10, mixed10_best(), 0.2),
    }


# Constrained. Sources: Gramacy et al. 2016; Gardner et al. 2014; the engineering problems as collected by Coello Coello 2002.


def gramacy_constraints(p):
    a, b = p["x0"], p["x1"]
    return [1.5 - a - 2 * b - 0.5 * math.sin(2 * math.pi * (a * a - 2 * b)), a * a + b * b - 1.5]


def gardner_constraint(p):
    return [math.sin(p["x0"]) * math.sin(p["x1"]) + 0.95]


def spring(p):
    wire, coil, turns = p["x0"], p["x1"], p["x2"]
    return (turns + 2) * coil * wire**2


def spring_constraints(p):
    d, c, n = p["x0"], p["x1"], p["x2"]
    return [
        1 - c**3 * n / (71785 * d**4),
        (4 * c**2 - d * c) / (12566 * (c * d**3 - d**4)) + 1 / (5108 * d**2) - 1,
        1 - 140.45 * d / (c**2 * n),
        (d + c) / 1.5 - 1,
    ]


def vessel(p):
    shell, head, radius, length = p["shell"], p["head"], p["radius"], p["length"]
    return (
        0.6224 * shell * radius * length + 1.7781 * head * radius**2
        + 3.1661 * shell**2 * length + 19.84 * shell**2 * radius
    )  # fmt: skip


def vessel_constraints(p):
    r, length = p["radius"], p["length"]
    volume = math.pi * r**2 * length + 4 / 3 * math.pi * r**3
    return [0.0193 * r - p["shell"], 0.00954 * r - p["head"], (1296000 - volume) / 1296000, length - 240]


def vessel_space():
    return [
        {"name": "shell", "type": "float", "low": 0.0625, "high": 6.1875, "step": 0.0625},
        {"name": "head", "type": "float", "low": 0.0625, "high": 6.1875, "step": 0.0625},
        {"name": "radius", "type": "float", "low": 10.0, "high": 200.0},
        {"name": "length", "type": "float", "low": 10.0, "high": 240.0},
    ]


def beam(p):
    h, length, t, b = coordinates(p)
    return 1.10471 * h**2 * length + 0.04811 * t * b * (14 + length)


def beam_constraints(p):
    h, length, t, b = coordinates(p)
    load, span, young, shear = 6000.0, 14.0, 30e6, 12e6
    moment = load * (span + length / 2)
    r = math.sqrt(length**2 / 4 + ((h + t) / 2) ** 2)
    j = 2 * math.sqrt(2) * h * length * (length**2 / 12 + ((h + t) / 2) ** 2)
    primary, secondary = load / (math.sqrt(2) * h * length), moment * r / j
    stress = math.sqrt(primary**2 + primary * secondary * length / r + secondary**2)
    bending, deflection = 6 * load * span / (b * t**2), 4 * load * span**3 / (young * t**3 * b)
    buckling = 4.013 * young * math.sqrt(t**2 * b**6 / 36) / span**2 * (1 - t / (2 * span) * math.sqrt(young / (4 * shear)))
    return [stress / 13600 - 1, bending / 30000 - 1, h - b, deflection / 0.25 - 1, 1 - buckling / load]


def constrained():
    gardner = lambda p: math.sin(p["x0"]) + p["x1"]
    spring_space = floats([(0.05, 2.0), (0.25, 1.3), (2.0, 15.0)])
    beam_space = floats([(0.125, 5.0), (0.1, 10.0), (0.1, 10.0), (0.125, 5.0)])
    kinds = {
        "gramacy": (box(2, 0, 1), lambda p: p["x0"] + p["x1"], 0.5997878, gramacy_constraints, 2),
        "gardner": (box(2, 0, 6), gardner, math.asin(0.95) - 1.0, gardner_constraint, 1),
        "spring": (spring_space, spring, 0.0126652, spring_constraints, 4),
        "vessel": (vessel_space(), vessel, 6059.714335, vessel_constraints, 4),
        "beam": (beam_space, beam, 1.7248523, beam_constraints, 5),
    }
    return {name: constrained_maker(name, *kind) for name, kind in kinds.items()}


def constrained_maker(name, space, formula, best, inequalities, count):
    constraints = [f"g{i}" for i in range(count)]
    return lambda: Function(name, "constrained", space, formula, best, inequalities, constraints)
