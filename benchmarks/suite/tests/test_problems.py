"""Problems against known points: optima, published values, other implementations."""

import json
import math
import random

import problems
import pytest
from problems import functions, halves, multiobjective
from problems.hypervolume import Front, volume
from problems.space import check, from_unit, only_active, random_point, to_unit

FAMILIES = ["functions", "mixed", "conditional", "constrained"]


@pytest.mark.parametrize("name", problems.names("suite"))
def test_random_points_lie_between_best_and_random_or_beyond(name):
    if name.startswith(("lcbench", "rbv2")):
        pytest.importorskip("onnxruntime")
    problem, rng = problems.load(name), random.Random(0)
    values = []
    for _ in range(60):
        point = random_point(problem.space, rng)
        check(problem.space, point)
        values.append(problem.evaluate(point)["values"][0])
    assert values[0] == problem.evaluate(random_point(problem.space, random.Random(0)))["values"][0]
    # No random point beats the best known value, and about half are better than the median (60 draws: 0.2 … 0.8 holds but for 1 in 10⁵).
    regrets = [problem.normalised_regret(value) for value in values]
    slack = 1e-3 * abs(problem.random_median - problem.best_known)
    assert all(problem.loss(value) >= problem.loss(problem.best_known) - slack for value in values)
    assert 0.2 <= sum(regret < 1.0 for regret in regrets) / 60 <= 0.8


def test_tables_hold_their_best():
    problem = problems.load("hpobench_kc1")
    best = max(range(len(problem.means)), key=problem.means.__getitem__)
    params, row = {}, best
    for parameter in reversed(problem.space):
        row, place = divmod(row, len(parameter["choices"]))
        params[parameter["name"]] = parameter["choices"][place]
    assert problem.row(params) == best
    assert problem.evaluate(params)["values"][0] == pytest.approx(problem.best_known, abs=1e-6)


def test_a_noisy_table_draws_a_recorded_seed_and_is_judged_by_the_mean():
    noisy, plain = problems.load("hpobench_kc1-noisy"), problems.load("hpobench_kc1")
    params = random_point(plain.space, random.Random(5))
    drawn = {noisy.evaluate(params, seed=seed)["values"][0] for seed in range(40)}
    assert drawn <= {float(v) for v in plain.values[plain.row(params)]} and len(drawn) > 1
    assert noisy.truth(params) == plain.evaluate(params)["values"]


def test_a_curve_ends_at_the_value_and_a_budget_cuts_it():
    problem = problems.load("taskset-patch32_GRU128_bs128")
    params = random_point(problem.space, random.Random(2))
    curve = problem.curve(params)
    assert len(curve) == 51 and curve[-1][1] == problem.evaluate(params)["values"][0]
    assert problem.evaluate(params, budget=10)["values"][0] == curve[9][1]


def test_lcbench_follows_its_curve():
    pytest.importorskip("onnxruntime")
    problem = problems.load("lcbench-167168-val_accuracy")
    params = random_point(problem.space, random.Random(2))
    curve = dict(problem.curve(params))
    assert problem.evaluate(params, budget=7)["values"][0] == pytest.approx(curve[7], abs=1e-4)
    assert problem.evaluate(params)["values"][0] == pytest.approx(curve[52], abs=1e-4)


def test_the_halves_follow_their_rule():
    assert json.loads(problems.SPLIT.read_text()) == halves.halves()
    development, held_back, core = (set(problems.names(group)) for group in ("development", "held_back", "core"))
    assert development | held_back == set(problems.names("suite")) and not development & held_back
    assert len(development) == len(held_back) == 21 and len(core & development) == len(core & held_back) == 6


@pytest.mark.parametrize("name", [name for family in FAMILIES for name in problems.names(family)])
def test_no_search_goes_below_the_optimum(name):
    """Random points, then small steps from the best: never below what is said to be the optimum."""
    problem, rng = problems.load(name), random.Random(1)
    best, best_point = math.inf, None
    for trial in range(3000):
        if best_point is None or trial < 1000:
            point = random_point(problem.space, rng)
        else:
            point = neighbour(problem.space, best_point, rng)
        result = problem.evaluate(point)
        if all(g <= 0 for g in result.get("constraints", [])) and result["values"][0] < best:
            best, best_point = result["values"][0], point
    assert best >= problem.best_known - 1e-4 * max(1.0, abs(problem.best_known))


def neighbour(space, point, rng):
    moved = {}
    for parameter in space:
        name = parameter["name"]
        u = to_unit(parameter, point[name]) if name in point and rng.random() < 0.8 else rng.random()
        moved[name] = from_unit(parameter, min(max(u + rng.gauss(0, 10 ** rng.uniform(-4, -1)), 0.0), 1 - 1e-12))
    return only_active(space, moved)


OPTIMA = {
    "branin": {"x0": math.pi, "x1": 2.275},
    "hartmann3": dict(zip(("x0", "x1", "x2"), (0.114614, 0.555649, 0.852547))),
    "hartmann6": {f"x{i}": v for i, v in enumerate((0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573))},
    "styblinski_tang5": {f"x{i}": -2.903534 for i in range(5)},
    "michalewicz5": {f"x{i}": v for i, v in enumerate((2.202906, 1.570796, 1.284992, 1.923058, 1.720470))},
    "jenatton": {"left": True, "upper": True, "x4": 0.0, "r8": 0.0},
    "layers": {"depth": 3, "width0": 256, "rate0": 0.2, "width1": 128, "rate1": 0.35, "width2": 64, "rate2": 0.5},
    "gramacy": {"x0": 0.1951, "x1": 0.4047},
    "spring": {"x0": 0.051690, "x1": 0.356750, "x2": 11.287126},
    "vessel": {"shell": 0.8125, "head": 0.4375, "radius": 42.0984455, "length": 176.6365958},
    "beam": {"x0": 0.205730, "x1": 3.470489, "x2": 9.036624, "x3": 0.205730},
    "rosenbrock_steps": {"a": 1, "b": 1.0, "c": 1, "d": 1.0},
}


@pytest.mark.parametrize("name", OPTIMA)
def test_published_optima_have_their_values(name):
    problem = problems.load(name)
    check(problem.space, OPTIMA[name])
    result = problem.evaluate(OPTIMA[name])
    assert result["values"][0] == pytest.approx(problem.best_known, rel=1e-3, abs=1e-4)
    assert all(g <= 2e-3 for g in result.get("constraints", []))


@pytest.mark.parametrize("name", ["ackley5", "levy10", "rosenbrock5", "griewank10", "rastrigin5"])
def test_shifted_functions_have_their_optimum_away_from_the_centre(name):
    problem = problems.load(name)
    place = {p["name"]: p["low"] + functions.shifted_optimum(i) * (p["high"] - p["low"]) for i, p in enumerate(problem.space)}
    centre = {p["name"]: (p["low"] + p["high"]) / 2 for p in problem.space}
    assert problem.evaluate(place)["values"][0] == pytest.approx(0.0, abs=1e-9)
    assert problem.evaluate(centre)["values"][0] > 0.01 * problem.random_median


def test_bbob_functions_know_their_optimum():
    pytest.importorskip("cocoex")
    sphere = problems.load("bbob-f1-d5-i1")
    assert sphere.best_known == pytest.approx(79.48)
    assert sphere.evaluate({f"x{i}": 0.0 for i in range(5)})["values"][0] == pytest.approx(92.30397568)


@pytest.mark.parametrize("name", ["zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "dtlz1", "dtlz2"])
def test_formulas_of_several_objectives_agree_with_pymoo(name):
    pymoo = pytest.importorskip("pymoo.problems")
    numpy = pytest.importorskip("numpy")
    problem, rng = problems.load(name), random.Random(4)
    theirs = pymoo.get_problem(name, n_var=len(problem.space), **({"n_obj": 3} if name.startswith("dtlz") else {}))
    for _ in range(20):
        unit = [rng.random() for _ in problem.space]
        point = numpy.array(unit) * (theirs.xu - theirs.xl) + theirs.xl
        ours = problem.evaluate({f"x{i}": u for i, u in enumerate(unit)})["values"]
        assert ours == pytest.approx(theirs.evaluate(numpy.array([point]))[0].tolist(), rel=1e-9, abs=1e-9)


def test_hypervolume_of_two_and_three_objectives():
    front = Front([4.0, 4.0])
    assert front.add([1.0, 3.0]) == 3.0
    assert front.add([3.0, 1.0]) == 5.0
    assert front.add([2.0, 2.0]) == 6.0
    assert front.add([3.5, 3.5]) == 6.0 and front.add([5.0, 0.0]) == 6.0
    cubes = Front([2.0, 2.0, 2.0])
    cubes.add([0.0, 1.0, 1.0])
    cubes.add([1.0, 0.0, 1.0])
    # 2 + 2 - 1, and the third adds a slab of 1 by 1 by 1 below.
    assert cubes.volume == 3.0
    assert cubes.add([1.0, 1.0, 0.0]) == 4.0


def test_hypervolume_agrees_with_counting():
    rng = random.Random(0)
    points = [[rng.random() for _ in range(3)] for _ in range(12)]
    front = Front([1.0, 1.0, 1.0])
    for point in points:
        front.add(point)
    draws = [[rng.random() for _ in range(3)] for _ in range(20_000)]
    counted = sum(any(all(p <= d for p, d in zip(point, draw)) for point in points) for draw in draws) / len(draws)
    # Standard deviation of the count is 0.0035: a failure by chance once in 10^5.
    assert front.volume == pytest.approx(counted, abs=0.015)


def test_the_hypervolume_of_a_front_is_the_known_best():
    problem = problems.load("zdt1")
    found = volume(multiobjective.zdt_front(1), problem.reference)
    assert found == pytest.approx(problem.best_known)
    # The integral of 1 - sqrt(x) is a third.
    r = problem.reference
    assert found == pytest.approx(r[0] * r[1] - 1 / 3, abs=1e-3)


def test_a_training_job_is_noisy_by_its_seed_and_judged_by_fixed_folds():
    pytest.importorskip("sklearn")
    problem = problems.load("training-svm-wine")
    params = {"C": 1.0, "kernel": "rbf", "gamma": 0.05}
    values = [problem.evaluate(params, seed=seed)["values"][0] for seed in (1, 2, 3, 1)]
    assert values[0] == values[3] and len(set(values)) > 1
    assert problem.truth(params)[0] > 0.95


def test_units_and_values_map_back():
    rng = random.Random(9)
    for name in ("rbv2_xgboost-12-acc", "mixed10", "rosenbrock_steps"):
        for parameter in problems.load(name).space if name != "rbv2_xgboost-12-acc" else functions.mixed10_space():
            for _ in range(20):
                value = from_unit(parameter, rng.random())
                assert from_unit(parameter, min(to_unit(parameter, value), 1 - 1e-12)) == pytest.approx(value) or "choices" in parameter or parameter["type"] == "int"
