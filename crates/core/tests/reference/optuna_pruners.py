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
    pruner = getattr(optuna.pruners, kind)(**settings)
    result = play(pruner, direction, curves, order)
    return {"name": name, "pruner": kind, "settings": settings, "direction": direction, **result}


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
    yield case("halving, values that are not numbers", halving, {"min_resource": 2, "reduction_factor": 2},
               "minimize", with_gaps, side_by_side(with_gaps, 3))


def main():
    rows = ",\n".join(json.dumps(row, allow_nan=False, separators=(",", ":")) for row in cases())
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(f'{{"source":"Optuna {optuna.__version__}; written by optuna_pruners.py",\n"cases":[\n{rows}]}}\n')
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
