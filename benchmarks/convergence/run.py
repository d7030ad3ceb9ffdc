"""How dependable the chance is that `luthier tune` tells: fitted on the development half of the recorded tasks, measured on the half held back.

    python3 benchmarks/convergence/run.py record     # Luthier's own long runs, kept under target/benchmarks/convergence
    python3 benchmarks/convergence/run.py fit        # prints the coefficients for chance.py and luthier_core::convergence
    python3 benchmarks/convergence/run.py report     # the tables of docs/benchmarks.md

Curves are the peers' traces of benchmarks/suite, and Luthier's own. Needs numpy and scipy. Each optimiser counts by the square root of its
runs, Luthier's own four times that, so that no one of them decides."""

import argparse
import math
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITE = ROOT / "benchmarks" / "suite"
OWN = ROOT / "target" / "benchmarks" / "convergence"
sys.path[:0] = [str(SUITE), str(HERE)]

import chance as model
import problems
import traces

RECORDED = {"luthier:tpe": 1000, "luthier:cma_es": 1000}
AFTER = (10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500)
MORE = (10, 25, 50, 100, 200)
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Independent draws of random search, joined to curves of this length.
JOINED = 5
EDGES = (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("record", record), ("fit", fit), ("report", report)):
        commands.add_parser(name).set_defaults(run=function)
    parser.parse_args().run()


# Curves


def record():
    for name, trials in RECORDED.items():
        command = [sys.executable, SUITE / "run.py", "record", name, "--tasks", "suite", "--seeds", "0-1", "--trials", trials, "--folder", OWN]
        subprocess.run([str(word) for word in command], check=True)


def curves(tasks):
    """(optimiser, task, losses) of all runs with one objective and one fidelity, losses turned so that smaller is better."""
    tasks = set(tasks)
    for folder in (None, OWN):
        for name in traces.recorded(folder):
            if name.endswith("+fidelity"):
                continue
            runs = [run for run in traces.read(name, folder).values() if run.task in tasks]
            yield from ((name, run.task, turned(run.task, run.values)) for run in runs)
            if name == "random_search:uniform":
                yield from joined(runs)


def turned(task, values):
    problem = problems.load(task)
    sign = 1.0 if len(problem.objectives) == 1 and problem.direction == "min" else -1.0
    return [sign * value for value in values]


def joined(runs):
    """Random search is the same whoever draws: several runs in a row are one long run."""
    by_task = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        by_task[run.task].append(run)
    for task, these in by_task.items():
        for k in range(0, len(these) - JOINED + 1, JOINED):
            yield "random_search:joined", task, turned(task, [value for run in these[k : k + JOINED] for value in run.values])


class Cases:
    """One row per question: would this run gain over this much in so many more trials, asked after so many?"""

    def __init__(self, tasks):
        rows = []
        for name, task, losses in curves(tasks):
            rows += [(name, task, *row) for row in questions(losses)]
        self.optimizers = np.array([row[0] for row in rows])
        self.tasks = np.array([row[1] for row in rows])
        self.after = np.array([row[2] for row in rows])
        self.more = np.array([row[3] for row in rows])
        self.share = np.array([row[4] for row in rows])
        self.gained = np.array([row[5] for row in rows], dtype=float)
        self.features = np.array([row[6] for row in rows])
        self.weights = weights(self.optimizers)


def questions(losses):
    course = model.Course([])
    future = np.minimum.accumulate(np.where(np.isfinite(losses), losses, np.inf))
    for loss in losses:
        course.add(loss)
        n = course.finished
        if n not in AFTER or not course.progress:
            continue
        for more in {k for k in (*MORE, n, model.HORIZON * n) if n + k <= len(losses)}:
            gain = course.best - future[n + more - 1]
            for share in SHARES:
                epsilon = share * course.progress
                yield n, more, share, gain > epsilon, list(model.features(course, more, epsilon).values())


def weights(optimizers):
    kinds, which, counts = np.unique(optimizers, return_inverse=True, return_counts=True)
    own = np.array([4.0 if kind.startswith("luthier") else 1.0 for kind in kinds])
    each = own / np.sqrt(counts)
    return each[which] / each[which].mean()


# Fitting


def fit():
    print("ONE =", fitted(Cases(problems.names("development"))))
    print("SEVERAL =", fitted(Cases(fronts()[0])))


def fitted(cases):
    from scipy.optimize import minimize

    def loss(beta):
        rate = np.exp(np.clip(cases.features @ beta, -30, 4))
        happens = np.clip(-np.expm1(-rate), 1e-12, 1)
        each = -(cases.gained * np.log(happens) - (1 - cases.gained) * rate)
        slope = -(cases.gained * np.exp(-rate) / happens * rate - (1 - cases.gained) * rate)
        return (cases.weights * each).mean(), (cases.features * (cases.weights * slope)[:, None]).mean(0)

    best = minimize(loss, np.zeros(cases.features.shape[1]), jac=True, method="L-BFGS-B").x
    return {name: round(float(value), 3) for name, value in zip(model.ONE, best)}


def fronts():
    """Problems of several objectives, in turn for fitting and for the report."""
    names = sorted(problems.names("multiobjective"))
    return names[::2], names[1::2]


def chances(cases, coefficients=model.ONE):
    return -np.expm1(-np.exp(np.clip(cases.features @ list(coefficients.values()), -30, 50)))


# The report


def report():
    for half in ("development", "held_back"):
        cases = Cases(problems.names(half))
        print(f"\n### {half}: {len(cases.gained)} questions about {len(set(cases.tasks))} tasks\n")
        scores(cases)
        if half == "held_back":
            reliability(cases)
    print("\n### what stopping would have cost, held back\n")
    stopping("held_back")
    print("\n### regret left, held back\n")
    regret("held_back")
    print("\n### several objectives, by recorded hypervolumes\n")
    several()


def brier(cases, predicted, chosen=slice(None)):
    return np.average((predicted[chosen] - cases.gained[chosen]) ** 2, weights=cases.weights[chosen])


def scores(cases, coefficients=model.ONE):
    often = np.average(cases.gained, weights=cases.weights)
    rows = {
        "always the mean": np.full(len(cases.gained), often),
        "record process, k / (n + k)": cases.more / (cases.after + cases.more),
        "this model": chances(cases, coefficients),
    }
    print("| prediction | Brier score | of Luthier's runs |\n|---|---|---|")
    own = np.char.startswith(cases.optimizers, "luthier")
    for name, predicted in rows.items():
        shown = f"{brier(cases, predicted, own):.4f}" if own.any() else "-"
        print(f"| {name} | {brier(cases, predicted):.4f} | {shown} |")


def reliability(cases, coefficients=model.ONE):
    predicted = chances(cases, coefficients)
    own = np.char.startswith(cases.optimizers, "luthier")
    long = cases.after >= 200
    print("\n| chance told | mean | came true | of Luthier's runs | after 200 trials and more |\n|---|---|---|---|---|")
    for low, high in zip(EDGES, EDGES[1:]):
        here = (predicted >= low) & (predicted < high + (high == 1))
        cells = [f"{100 * np.average(predicted[here], weights=cases.weights[here]):.0f} %"] if here.any() else ["-"]
        for chosen in (here, here & own, here & long):
            few = chosen.sum() < 50
            cells.append("-" if few else f"{100 * np.average(cases.gained[chosen], weights=cases.weights[chosen]):.0f} %")
        print(f"| {100 * low:.0f} … {100 * high:.0f} % | " + " | ".join(cells) + " |")


RULES = [(0.2, 0.01), (0.1, 0.01), (0.05, 0.01), (0.2, 0.03), (0.1, 0.03), (0.05, 0.03)]


def stopping(half, within=50, least=20):
    names = (*RECORDED, "random_search:joined")
    print("| run | chance | gain over | stopped | trials, median | regret then | at the end | gain missed over that |\n" + "|---" * 8 + "|")
    runs = [(n, t, losses) for n, t, losses in curves(problems.names(half)) if n in names]
    for name in names:
        own = [(task, losses) for n, task, losses in runs if n == name]
        for limit, share in RULES:
            row = [stopped(losses, limit, share, within, least, task) for task, losses in own]
            over = [r for r in row if r[0] is not None]
            if not over:
                continue
            at = np.median([r[0] for r in over])
            then, end = (100 * np.mean([r[k] for r in over]) for k in (1, 2))
            missed = 100 * np.mean([r[3] for r in over])
            print(f"| {name} | {limit:.0%} | {share:.0%} | {len(over)} of {len(row)} | {at:.0f} | {then:.2f} % | {end:.2f} % | {missed:.0f} % |")


def stopped(losses, limit, share, within, least, task):
    """(trial of the stop or None, regret then, regret at the end, whether more than the share was missed within the next trials). Regret is of the
    random median's distance from the best known value."""
    problem = problems.load(task)
    sign = 1.0 if problem.direction == "min" else -1.0
    scale = abs(problem.random_median - problem.best_known)
    course = model.Course([])
    future = np.minimum.accumulate(np.where(np.isfinite(losses), losses, np.inf))
    for loss in losses:
        course.add(loss)
        n = course.finished
        if n < least or not course.progress:
            continue
        epsilon = share * course.progress
        if model.chance(course, within, epsilon) < limit:
            far = lambda x: min(max((x - sign * problem.best_known) / scale, 0.0), 1.0)
            ahead = future[min(n + within, len(losses)) - 1]
            return n, far(course.best), far(future[-1]), course.best - ahead > epsilon
    return None, math.nan, math.nan, False


def regret(half):
    print("| after | told, of the progress | came true, ten times as long | runs |\n|---|---|---|---|")
    rows = defaultdict(list)
    for name, task, losses in curves(problems.names(half)):
        future = np.minimum.accumulate(np.where(np.isfinite(losses), losses, np.inf))
        course = model.Course([])
        for loss in losses:
            course.add(loss)
            n = course.finished
            if n in (10, 20, 50, 100) and (model.HORIZON + 1) * n <= len(losses) and course.progress:
                gain = course.best - future[(model.HORIZON + 1) * n - 1]
                rows[n].append((model.regret_left(course) / course.progress, gain / course.progress))
    for n, pairs in sorted(rows.items()):
        told, true = np.mean(np.minimum(pairs, 1.0), axis=0)
        print(f"| {n} | {100 * told:.1f} % | {100 * true:.1f} % | {len(pairs)} |")


def several():
    """The traces hold the hypervolume after each trial."""
    for half, names in zip(("for fitting", "held back"), fronts()):
        cases = Cases(names)
        print(f"\n{half}: {len(cases.gained)} questions about {len(set(cases.tasks))} problems\n")
        scores(cases, model.SEVERAL)
    reliability(cases, model.SEVERAL)


if __name__ == "__main__":
    main()
