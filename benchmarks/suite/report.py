"""Writes what `measure` has found: tables on the terminal, CSV, plots, and the page in `docs/benchmarks.md`. It computes no figure itself."""

import csv
import sys
from pathlib import Path

import measure
from problems import load

ROOT = Path(__file__).resolve().parent.parent.parent


def comparison_of(runs, tasks, seeds, trials, least_coverage=0.8):
    return measure.compare(runs, tasks, seeds, trials, {task: load(task) for task in tasks}, least_coverage)


def print_table(title, runs, tasks, seeds, trials, draws=0, details=False, ours=()):
    """A table on the terminal; the rows of `ours` are marked."""
    comparison = comparison_of(runs, tasks, seeds, trials)
    print(f"\n{title}: {len(comparison.tasks)} tasks, {len(comparison.cells)} runs of {trials} trials each, common to all rows")
    if comparison.cells:
        print_rows(measure.table(comparison, draws=draws), ours, draws)
    for name, why in comparison.left_out.items():
        print(f"  left out: {name} {why}")
    if comparison.missing:
        print(f"  {len(comparison.missing)} runs are missing from one row or another")
    if details and comparison.cells:
        print_details(comparison, ours)


def print_rows(rows, ours, draws):
    shown = [f"{label}@{measure.percent(f)}" for label in ("regret", "rank") for f in measure.FRACTIONS]
    print(f"{'':30}" + "".join(f"{name:>13}" for name in shown) + f"{'CPU ms':>10}")
    for row in rows:
        mark = "*" if row["optimizer"] in ours else " "
        print(f"{mark}{row['optimizer']:29}" + "".join(f"{row[name]:13.4f}" for name in shown) + f"{row['cpu_ms']:10.3g}")
        if draws:
            intervals = [f"{row[name + '_low']:.3f}–{row[name + '_high']:.3f}" for name in shown]
            print(f"{'':30}" + "".join(f"{text:>13}" for text in intervals))


def print_details(comparison, ours):
    means = measure.task_means(comparison, measure.at_fraction(comparison, 1.0))
    print("\nregret at the end, task by task")
    short = [name.replace("luthier:", "l:").replace("optuna:", "o:")[:11] for name in comparison.optimizers]
    print(f"{'':42}" + "".join(f"{name:>12}" for name in short))
    for i, task in enumerate(comparison.tasks):
        print(f"{task:42}" + "".join(f"{value:12.4f}" for value in means[:, i]))
    for name in ours:
        if name not in comparison.optimizers:
            continue
        print(f"\n{name}: families where the difference is significant (paired, 95 %), and tasks where it is worse than random")
        for other in comparison.optimizers:
            for test in measure.paired_by(comparison, name, other, comparison.families.get) if other != name else ():
                if test.better or test.worse:
                    print(f"  {'better' if test.better else 'WORSE '} than {other:24} on {test.label:14} by {abs(test.difference):.4f}, p {test.p:.2g}")
        if "random_search:uniform" in comparison.optimizers and name != "random_search:uniform":
            for test in measure.paired_by(comparison, name, "random_search:uniform", lambda task: task):
                if test.difference > 0:
                    print(f"  mean worse than random on {test.label} by {test.difference:.4f}, p {test.p:.2g}")
