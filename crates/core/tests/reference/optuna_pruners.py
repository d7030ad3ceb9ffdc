"""Writes optuna_pruners.json: which running trials Optuna's pruners stop, for the tests of Luthier's schedulers.

Run it with the environment that `benchmarks/peers/install.sh reference` makes (Optuna's version is pinned there):

    python optuna_pruners.py

A case is a pruner with its settings, a direction, and reports in the order in which they arrive, from trials that run
side by side. After each report Optuna is asked whether to prune: a pruned trial reports no more, a trial that reaches
the end of its curve completes with its last value, or fails if that is NaN. `pruned` lists [trial, step] in order,
`completed` the trials that completed; the rest failed. NaN is written as null.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import optuna

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)

NAN = float("nan")


def play(pruner, direction, curves, order):
    """Feeds `curves[trial] = [(step, value), ...]` in the order of trial numbers given; trials start at first sight."""
    study = optuna.create_study(direction=direction, pruner=pruner)
    trials, position, arrivals, pruned, stopped = {}, {}, [], [], set()
    for number in order:
        if number in stopped:
            continue
        if number not in trials:
            while len(trials) <= number:
                trials[len(trials)] = study.ask()
        step, value = curves[number][position.setdefault(number, 0)]
        position[number] += 1
        trials[number].report(value, step)
        arrivals.append([number, step, None if math.isnan(value) else value])
        if trials[number].should_prune():
            pruned.append([number, step])
            study.tell(trials[number], state=optuna.trial.TrialState.PRUNED)
            stopped.add(number)
        elif position[number] == len(curves[number]):
            if math.isnan(value):
                study.tell(trials[number], state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trials[number], value)
            stopped.add(number)
    completed = [t.number for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    return {"reports": arrivals, "pruned": pruned, "completed": completed}


def curves_of(rng, count, steps, noise=0.1):
    """Falling curves with different levels and speeds, two decimals so that ties occur."""
    levels, speeds = rng.uniform(0.1, 1.0, count), rng.uniform(0.1, 1.0, count)
    curves = []
    for level, speed in zip(levels, speeds):
        values = [level + math.exp(-speed * k) + rng.normal(0, noise) for k in range(len(steps))]
        curves.append([(step, round(value, 2)) for step, value in zip(steps, values)])
    return curves


def one_after_another(curves):
    return [number for number, curve in enumerate(curves) for _ in curve]


def side_by_side(curves, workers):
    """`workers` trials at a time, taking turns."""
    order, waiting, running = [], list(range(len(curves))), []
    while waiting or running:
        while waiting and len(running) < workers:
            running.append([waiting.pop(0), 0])
        for slot in list(running):
            order.append(slot[0])
            slot[1] += 1
            if slot[1] == len(curves[slot[0]]):
                running.remove(slot)
    return order


def case(name, kind, settings, direction, curves, order):
    result = play(pruner_of(kind, settings), direction, curves, order)
    return {"name": name, "pruner": kind, "settings": settings, "direction": direction, **result}


def pruner_of(kind, settings):
    """Settings may hold a pruner to wrap: {"pruner": its class, and its settings}."""
    settings = dict(settings)
    if "wrapped_pruner" in settings and settings["wrapped_pruner"] is not None:
        inner = dict(settings["wrapped_pruner"])
        settings["wrapped_pruner"] = pruner_of(inner.pop("pruner"), inner)
    pruner = getattr(optuna.pruners, kind)(**settings)
    if kind == "HyperbandPruner":
        pruner._get_bracket_id = lambda study, trial: bracket_of(pruner, trial.number)
    return pruner


def bracket_of(pruner, number):
    """Luthier's bracket: multiples of the golden ratio over the brackets' shares. Optuna hashes the study's name; shares, rungs and verdicts
    are Optuna's."""
    if not pruner._trial_allocation_budgets:
        return 0  # nothing has been reported yet
    place = (number * 0x9E3779B97F4A7C15 % 2**64) * pruner._total_trial_allocation_budget >> 64
    for bracket, trials in enumerate(pruner._trial_allocation_budgets):
        if place < trials:
            return bracket
        place -= trials
    raise AssertionError("unreachable")


def instances_of(rng, count, instances, spread, decimals=3):
    """Scores of trials of different quality on the same instances, whose difficulties differ more than the trials do."""
    difficulty = rng.uniform(0, 3, instances)
    qualities = rng.uniform(0.0, 1.0, count)
    return [[(k, round(quality + difficulty[k] + rng.normal(0, spread), decimals)) for k in range(instances)] for quality in qualities]


def shuffled(rng, curves):
    return [[curve[k] for k in rng.permutation(len(curve))] for curve in curves]


def cases():
    rng = np.random.default_rng(5)
    steps = list(range(1, 10))
    falling = curves_of(rng, 12, steps)
    rising = [[(step, -value) for step, value in curve] for curve in falling]
    alone, together = one_after_another(falling), side_by_side(falling, 4)
    sparse = curves_of(rng, 10, [2, 5, 6, 11, 14, 20])
    with_gaps = [[(s, NAN if (s + i) % 4 == 0 else v) for s, v in c] for i, c in enumerate(curves_of(rng, 10, steps))]
    only_nan = falling[:6] + [[(step, NAN) for step in steps]]
    zero_based = curves_of(rng, 12, list(range(0, 28)))

    median, percentile, halving = "MedianPruner", "PercentilePruner", "SuccessiveHalvingPruner"
    yield case("median, one trial at a time", median, {}, "minimize", falling, alone)
    yield case("median, four at a time", median, {"n_startup_trials": 2}, "minimize", falling, together)
    yield case("median, maximised", median, {"n_startup_trials": 2}, "maximize", rising, together)
    yield case("median, warm-up and interval", median,
               {"n_startup_trials": 3, "n_warmup_steps": 2, "interval_steps": 3}, "minimize", falling, alone)
    yield case("median, uneven steps", median,
               {"n_startup_trials": 1, "n_warmup_steps": 1, "interval_steps": 5, "n_min_trials": 2},
               "minimize", sparse, one_after_another(sparse))
    yield case("median, values that are not numbers", median, {"n_startup_trials": 1}, "minimize", with_gaps,
               one_after_another(with_gaps))
    yield case("median, a curve without numbers", median, {}, "minimize", only_nan, one_after_another(only_nan))
    yield case("best quarter", percentile, {"percentile": 25.0, "n_startup_trials": 4}, "minimize", falling, alone)
    yield case("best quarter, maximised", percentile, {"percentile": 25.0, "n_startup_trials": 4}, "maximize",
               rising, alone)
    yield case("threshold above", "ThresholdPruner", {"upper": 1.2, "n_warmup_steps": 3}, "minimize", falling, alone)
    yield case("threshold both sides", "ThresholdPruner",
               {"lower": 0.5, "upper": 1.6, "interval_steps": 4}, "minimize", falling, together)
    yield case("threshold, values that are not numbers", "ThresholdPruner", {"upper": 9.0}, "minimize", with_gaps,
               one_after_another(with_gaps))
    for workers in (1, 4):
        yield case(f"halving by 3, {workers} at a time", halving, {"min_resource": 1, "reduction_factor": 3},
                   "minimize", zero_based, side_by_side(zero_based, workers))
    yield case("halving by 2, maximised", halving, {"min_resource": 1, "reduction_factor": 2}, "maximize", rising,
               together)
    yield case("halving by 2, later first rung", halving,
               {"min_resource": 1, "reduction_factor": 2, "min_early_stopping_rate": 1}, "minimize", falling, together)
    yield case("halving by 2, uneven steps jump over rungs", halving, {"min_resource": 1, "reduction_factor": 2},
               "minimize", sparse, side_by_side(sparse, 3))
    patient, wilcoxon, hyperband = "PatientPruner", "WilcoxonPruner", "HyperbandPruner"
    wavy = curves_of(rng, 10, steps, noise=0.3)
    yield case("patience alone", patient, {"wrapped_pruner": None, "patience": 2}, "minimize", wavy, one_after_another(wavy))
    yield case("patience of none", patient, {"wrapped_pruner": None, "patience": 0}, "minimize", falling, together)
    yield case("patience with a least gain, maximised", patient, {"wrapped_pruner": None, "patience": 1, "min_delta": 0.05}, "maximize",
               rising, together)
    yield case("patience before the median", patient,
               {"wrapped_pruner": {"pruner": median, "n_startup_trials": 2}, "patience": 1}, "minimize", wavy, side_by_side(wavy, 3))
    yield case("patience before the best quarter", patient,
               {"wrapped_pruner": {"pruner": percentile, "percentile": 25.0, "n_startup_trials": 2}, "patience": 0, "min_delta": 0.02},
               "minimize", wavy, one_after_another(wavy))
    folds = shuffled(rng, instances_of(rng, 14, 10, 0.2))
    ties = instances_of(rng, 14, 9, 0.4, decimals=1)
    many = instances_of(rng, 8, 60, 1.0)
    yield case("Wilcoxon, folds in any order", wilcoxon, {}, "minimize", folds, one_after_another(folds))
    yield case("Wilcoxon, four at a time, stricter", wilcoxon, {"p_threshold": 0.02, "n_startup_steps": 5}, "minimize", folds,
               side_by_side(folds, 4))
    yield case("Wilcoxon, ties and zeros", wilcoxon, {"p_threshold": 0.2}, "minimize", ties, one_after_another(ties))
    yield case("Wilcoxon, maximised", wilcoxon, {"p_threshold": 0.3}, "maximize",
               [[(step, -value) for step, value in curve] for curve in folds], one_after_another(folds))
    yield case("Wilcoxon, sixty instances", wilcoxon, {"p_threshold": 0.05}, "minimize", many, one_after_another(many))
    long = curves_of(rng, 25, list(range(0, 27)))
    yield case("Hyperband by 3", hyperband, {"min_resource": 1, "max_resource": 27, "reduction_factor": 3}, "minimize", long,
               one_after_another(long))
    yield case("Hyperband by 3, five at a time", hyperband, {"min_resource": 1, "max_resource": 27, "reduction_factor": 3}, "minimize",
               long, side_by_side(long, 5))
    yield case("Hyperband by 2 from 2 on, maximised", hyperband, {"min_resource": 2, "max_resource": 24, "reduction_factor": 2},
               "maximize", [[(step, -value) for step, value in curve[:24]] for curve in long], side_by_side([c[:24] for c in long], 3))
    yield case("halving, values that are not numbers", halving, {"min_resource": 2, "reduction_factor": 2},
               "minimize", with_gaps, side_by_side(with_gaps, 3))


def main():
    rows = ",\n".join(json.dumps(row, allow_nan=False, separators=(",", ":")) for row in cases())
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(f'{{"source":"Optuna {optuna.__version__}; written by optuna_pruners.py",\n"cases":[\n{rows}]}}\n')
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
