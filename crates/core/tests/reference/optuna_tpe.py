"""Writes optuna_tpe.json: what Optuna's TPE computes, for the tests of Luthier's TPE to compare with.

Run it with the environment that `benchmarks/peers/install.sh reference` makes (Optuna's version is pinned there):

    python optuna_tpe.py

Only deterministic quantities are recorded: the split into good and bad trials, weights, kernels, log densities, and
which of 24 given candidates wins. Random draws themselves are not compared.

Two liberties are taken with Optuna. Its bandwidths sort the observations with a sort that is not stable and differs
between processors; here it is made stable, so equal observations keep the order of their trials. And a value that is
not finite is written as null.
"""

import functools
import json
import math
import pathlib
import warnings

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe import parzen_estimator, sampler as tpe
from optuna.samplers._tpe.probability_distributions import _BatchedCategoricalDistributions
from optuna.trial import TrialState, create_trial

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
np.argsort = functools.partial(np.argsort, kind="stable")

CHOICES = 4
SPACE = {
    "float_linear": FloatDistribution(-5.0, 10.0),
    "float_log": FloatDistribution(1e-5, 1.0, log=True),
    "float_step": FloatDistribution(0.0, 1.0, step=0.25),
    "int_linear": IntDistribution(-3, 12),
    "int_log": IntDistribution(1, 200, log=True),
    "int_step": IntDistribution(0, 60, step=15),
    "categorical": CategoricalDistribution(list(range(CHOICES))),
}


def describe(distribution):
    if isinstance(distribution, CategoricalDistribution):
        return {"type": "categorical", "choices": len(distribution.choices)}
    kind = "float" if isinstance(distribution, FloatDistribution) else "int"
    scale = "log" if distribution.log else "linear"
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    return {"type": kind, "low": low, "high": high, "scale": scale, "step": step and float(step)}


def draw(distribution, rng):
    """A value with few digits; coarse on purpose for steps, so that equal observations occur."""
    if isinstance(distribution, CategoricalDistribution):
        return int(rng.integers(CHOICES))
    low, high = distribution.low, distribution.high
    if distribution.log:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        value = rng.uniform(low, high)
    if isinstance(distribution, IntDistribution):
        return min(high, low + round((value - low) / distribution.step) * distribution.step)
    if distribution.step is not None:
        return low + round((value - low) / distribution.step) * distribution.step
    return float(f"{value:.5g}")


def draws(space, count, rng):
    return {name: [draw(distribution, rng) for _ in range(count)] for name, distribution in space.items()}


def arrays(columns):
    return {name: np.asarray(column, dtype=float) for name, column in columns.items()}


def parameters():
    return tpe.TPESampler(seed=0)._parzen_estimator_parameters


def kernels(estimator):
    described = {}
    for name, batch in zip(estimator._search_space, estimator._mixture_distribution.distributions):
        if isinstance(batch, _BatchedCategoricalDistributions):
            described[name] = {"probabilities": batch.weights.tolist()}
        else:
            described[name] = {"means": batch.mu.tolist(), "sigmas": batch.sigma.tolist()}
    return described


def estimator_case(name, space, observations, queries):
    estimator = parzen_estimator._ParzenEstimator(arrays(observations), space, parameters())
    return {
        "name": name,
        "space": {key: describe(distribution) for key, distribution in space.items()},
        "observations": observations,
        "weights": estimator._mixture_distribution.weights.tolist(),
        "kernels": kernels(estimator),
        "queries": queries,
        "log_density": estimator.log_pdf(arrays(queries)).tolist(),
    }


def estimator_cases():
    rng = np.random.default_rng(1)
    cases = []
    for count in (0, 1, 2, 3, 12, 60):
        queries = draws(SPACE, 8, rng)
        cases.append(estimator_case(f"joint, {count} observations", SPACE, draws(SPACE, count, rng), queries))
    for name, distribution in SPACE.items():
        space = {name: distribution}
        queries = draws(space, 6, rng)
        if not isinstance(distribution, CategoricalDistribution):
            queries[name] += [distribution.low, distribution.high]
        cases.append(estimator_case(f"{name} alone, 30 observations", space, draws(space, 30, rng), queries))
    ends = {"float_linear": SPACE["float_linear"]}
    at_ends = {"float_linear": [-5.0, 10.0, -5.0, 2.5]}
    cases.append(estimator_case("observations at the bounds", ends, at_ends, {"float_linear": [-5.0, 0.0, 10.0]}))
    same = {"float_linear": [4.0] * 40}
    far = {"float_linear": [4.0, -4.9, 9.9]}
    cases.append(estimator_case("forty equal observations", ends, same, far))
    return cases


def record(number, state, value=None, reports=(), violation=None, params=None, space=None):
    """One trial, as the fixture says it and as Optuna wants it."""
    params = params or {}
    said = {"number": number, "state": state, "value": value}
    said["reports"] = [[step, None if math.isnan(v) else v] for step, v in reports]
    said["violation"] = violation
    said["params"] = params
    frozen = create_trial(
        state={"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "running": TrialState.RUNNING}[state],
        value=value,
        params=params,
        distributions={name: (space or SPACE)[name] for name in params},
        intermediate_values=dict(reports),
        constraints=None if violation is None else {"c": violation},
    )
    frozen.number = number
    return said, frozen


def split_case(name, direction, trials):
    study = optuna.create_study(direction=direction)
    frozen = [trial for _, trial in trials]
    n_below = tpe.default_gamma(sum(trial.state != TrialState.RUNNING for trial in frozen))
    below, above = tpe._split_trials(study, frozen, n_below)
    return {
        "name": name,
        "direction": direction,
        "trials": [said for said, _ in trials],
        "n_below": n_below,
        "below": [trial.number for trial in below],
        "above": [trial.number for trial in above],
    }


def split_cases():
    rng = np.random.default_rng(2)
    nan = float("nan")

    def completed(count):
        return [record(i, "completed", round(float(rng.normal()), 2)) for i in range(count)]

    cases = [split_case(f"{n} completed, {d}", d, completed(n))
             for n, d in ((1, "minimize"), (10, "minimize"), (11, "minimize"), (40, "maximize"), (300, "minimize"))]
    ties = [record(i, "completed", float(i % 2)) for i in range(25)]
    cases += [split_case("ties keep trial order", direction, ties) for direction in ("minimize", "maximize")]
    running = [record(i, "running") if i % 3 == 0 else record(i, "completed", float(-i)) for i in range(24)]
    cases.append(split_case("running trials are bad and do not count", "minimize", running))
    pruned = [
        record(0, "pruned", reports=[(1, 0.1)]),
        record(1, "pruned", reports=[(1, 0.9), (5, 0.8)]),
        record(2, "pruned", reports=[(1, 0.7), (5, 0.3)]),
        record(3, "pruned", reports=[(5, nan)]),
        record(4, "pruned"),
        record(5, "completed", 7.0),
        record(6, "pruned", reports=[(9, nan)]),
        record(7, "pruned", reports=[(9, 4.0), (2, 0.0)]),
    ] + [record(i, "pruned", reports=[(1, float(i))]) for i in range(8, 45)]
    cases += [split_case(f"mostly pruned, {direction}", direction, pruned) for direction in ("minimize", "maximize")]
    infeasible = [
        record(i, "completed", float(i), violation=[-1.0, 0.5, 0.1, 0.0][i % 4] if i > 3 else 2.0 - i / 4)
        for i in range(36)
    ]
    cases.append(split_case("some infeasible", "minimize", infeasible))
    hardly = [record(i, "completed", float(i), violation=0.0 if i == 9 else 1.0 + (i * 7) % 5) for i in range(30)]
    cases.append(split_case("one feasible", "minimize", hardly))
    return cases


def watch(sampler, decisions):
    """Makes `sampler` append what it looks at to `decisions`; the caller puts `tpe._split_trials` back."""
    split_trials, score = tpe._split_trials, sampler._compute_acquisition_func

    def watched_split(study, trials, n_below):
        below, above = split_trials(study, trials, n_below)
        decisions.append({"below": [t.number for t in below], "above": [t.number for t in above]})
        return below, above

    def watched_score(samples, below, above):
        scores = score(samples, below, above)
        decisions[-1].update(
            names=list(samples),
            observations_below=len(below._mixture_distribution.weights) - 1,
            observations_above=len(above._mixture_distribution.weights) - 1,
            candidates={name: values.tolist() for name, values in samples.items()},
            log_below=below.log_pdf(samples).tolist(),
            log_above=above.log_pdf(samples).tolist(),
            winner=int(np.argmax(scores)),
        )
        return scores

    tpe._split_trials = watched_split
    sampler._compute_acquisition_func = watched_score


def front_cases():
    """Splits with several objectives, all minimised; coarse losses, so that points and coordinates repeat."""
    rng = np.random.default_rng(11)
    cases = []
    for objectives, count, digits in [(2, 1, 3), (2, 15, 1), (2, 64, 2), (2, 200, 1), (3, 40, 1), (3, 120, 2), (4, 60, 2)]:
        losses = np.round(rng.normal(size=(count, objectives)), digits) + 0.0
        study = optuna.create_study(directions=["minimize"] * objectives)
        for row in losses:
            study.add_trial(create_trial(values=row.tolist()))
        below, _ = tpe._split_trials(study, study.trials, tpe.default_gamma_multiobjective(count))
        cases.append({
            "name": f"{count} trials, {objectives} objectives, {digits} digits",
            "losses": losses.tolist(),
            "below": [trial.number for trial in below],
        })
    return cases


def choice_case(name, direction, space, trials, ask):
    sampler, decisions, split_trials = tpe.TPESampler(seed=3), [], tpe._split_trials
    watch(sampler, decisions)
    study = optuna.create_study(direction=direction, sampler=sampler)
    for _, frozen in trials:
        study.add_trial(frozen)
    ask(study.ask())
    tpe._split_trials = split_trials
    return {
        "name": name,
        "direction": direction,
        "space": {key: describe(distribution) for key, distribution in space.items()},
        "trials": [said for said, _ in trials],
        "decisions": decisions,
    }


def choice_cases():
    rng = np.random.default_rng(4)

    def state_of(i):
        return "running" if i % 11 == 10 else "pruned" if i % 5 == 4 else "completed"

    def mixed(count, space, active):
        trials = []
        for i in range(count):
            params = active({name: draw(distribution, rng) for name, distribution in space.items()})
            state, loss = state_of(i), round(float(rng.normal()), 3)
            reports = [(step, loss + 1.0 / step) for step in range(1, 2 + i % 3)] if state == "pruned" else []
            value = loss if state == "completed" else None
            trials.append(record(i, state, value, reports, params=params, space=space))
        return trials

    def ask_all(trial):
        for name, distribution in SPACE.items():
            trial._suggest(name, distribution)

    conditional = {
        "booster": CategoricalDistribution([0, 1, 2, 3]),
        "rate": FloatDistribution(1e-4, 1.0, log=True),
        "drop": FloatDistribution(0.0, 0.5),
    }

    def only_when_active(params):
        if params["booster"] != 1:
            del params["drop"]
        return params

    def ask_conditional(trial):
        for name in ("booster", "rate", "drop"):
            trial._suggest(name, conditional[name])

    return [
        choice_case("seven parameters, 20 trials", "minimize", SPACE, mixed(20, SPACE, dict), ask_all),
        choice_case("seven parameters, 90 trials", "maximize", SPACE, mixed(90, SPACE, dict), ask_all),
        choice_case("a conditional parameter", "minimize", conditional,
                    mixed(40, conditional, only_when_active), ask_conditional),
    ]


def write(path, reference):
    """One line per case, so that a change shows in a diff."""
    sections = []
    for key, value in reference.items():
        if isinstance(value, list) and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(compact(row) for row in value) + "]"
        else:
            text = compact(value)
        sections.append(f"{compact(key)}:{text}")
    path.write_text("{" + ",\n".join(sections) + "}\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


def compact(value):
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def main():
    reference = {
        "source": f"Optuna {optuna.__version__}, TPESampler's defaults; written by optuna_tpe.py",
        "gamma": [tpe.default_gamma(n) for n in range(1001)],
        "weights": {str(n): tpe.default_weights(n).tolist() for n in (0, 1, 24, 25, 26, 27, 30, 60)},
        "splits": split_cases(),
        "fronts": front_cases(),
        "estimators": estimator_cases(),
        "choices": choice_cases(),
    }
    write(pathlib.Path(__file__).with_suffix(".json"), reference)


if __name__ == "__main__":
    main()
