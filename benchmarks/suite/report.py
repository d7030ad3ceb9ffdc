"""Writes what `measure` and `bars` have found: tables on the terminal, CSV, plots, and the page in `docs/benchmarks.md`. It computes no
figure itself."""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import bars
import measure
import traces
from problems import load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent / "report"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- tuning: written by `benchmarks/suite/run.py page` -->", "<!-- tuning: end -->"


def samplers(*names):
    return tuple(f"luthier:{name}" for name in names)


@dataclass
class Grid:
    """What is run and compared: tasks × seeds × trials. `anchors`: peers whose complete seeds are the seeds of the table. `ours`: Luthier's
    samplers that are run on it and have rows. `beside`: the peers that have rows, all if None. `note`: what the page adds. `workers`: trials
    that run at once."""

    title: str
    tasks: str
    trials: int
    seeds: int
    anchors: tuple
    ours: tuple = samplers("auto", "tpe", "adaptive_tpe", "gp", "forest", "cma_es")
    fidelity: bool = False
    beside: tuple | None = None
    note: str = ""
    workers: int = 1

    @property
    def setting(self):
        """What names of its traces end with."""
        return traces.setting(self.fidelity, self.workers)

    def rows(self, runs):
        """Those of the runs that have a row."""
        return {name: kept for name, kept in runs.items() if self.shows(traces.bare(name))}

    def shows(self, name):
        return name in self.ours or (bars.is_peer(name) and (self.beside is None or name in self.beside))

    def chosen(self, tasks_of, half=None):
        """Names of its problems, of one half of the suite if one is named; on several fidelities, of those that have them."""
        within = tasks_of(self.tasks if half is None else half)
        return [task for task in within if task in tasks_of(self.tasks) and (not self.fidelity or load(task).fidelity)]


# Trials that run at once in the table of parallel runs.
WORKERS = 8
FORMULAS = "functions,mixed,conditional,constrained,noisy,tables-noisy,bbob"

# The simple samplers have a table of their own: among the rows of another they would only push its ranks apart.
GRIDS = {
    "core": Grid("The core, where slow peers are recorded too", "core", 100, 20, ("optuna:gp", "smac:hpo", "hebo:default"),
                 note="Nevergrad's NGOpt plans by the number of trials. It was told 200, as for the table of all tasks."),
    "suite": Grid("All recorded and modelled tasks, fast peers", "suite", 200, 20, ("optuna:tpe", "optuna:cmaes")),
    "parallel": Grid(
        "Eight trials at once", "core", 100, 20, (f"optuna:tpe{traces.setting(workers=WORKERS)}",), samplers("auto", "tpe", "gp", "cma_es"), workers=WORKERS,
        note="The trial that began first ends first, and then the next one is asked for. Peers that take that, with nothing set for it.",
    ),
    "others": Grid(
        "The other samplers of Luthier", "suite", 200, 20, (bars.RANDOM, "quasi_random:sobol"),
        samplers("differential_evolution", "regularized_evolution", "nelder_mead", "coarse_to_fine", "latin_hypercube", "halton", "sobol",
                 "random"),
        beside=(bars.RANDOM, "quasi_random:sobol"),
        note="Ranks are among these rows. `grid` and `manual` have none: what they try is up to the user.",
    ),
    "fidelity": Grid(
        "Several fidelities", "core", 50, 20,
        ("optuna:tpe+fidelity", "smac:multifidelity+fidelity", "neps:priorband+fidelity"), samplers("auto", "tpe", "bohb", "dehb", "priorband"), True,
        note="Luthier's `bohb` and `priorband` run with `hyperband` in mode `promote`, its `dehb` with `hyperband` in mode `fresh`, `auto` and "
        "`tpe` with the default scheduler. The spaces have no priors, which are what `priorband` is made for.",
    ),
    "curves": Grid(
        "Several fidelities: recorded learning curves", "curves", 50, 20, ("optuna:tpe+fidelity", "syne_tune:asha+fidelity"),
        samplers("auto", "tpe", "bohb", "dehb", "priorband"), True,
        note="Both halves; trainings of recurrent networks as they were recorded, a report a point. A run takes SMAC 27 s of CPU, so it is not there.",
    ),
    "formulas": Grid("Functions", FORMULAS, 100, 20, ("optuna:tpe",)),
    "multiobjective": Grid(
        "Several objectives", "multiobjective", 100, 20, ("optuna:tpe",), samplers("auto", "tpe", "gp", "forest", "nsga2", "nsga3"),
        note="Here `adaptive_tpe` is the same as `tpe`, and `cma_es` looks at the first objective only.",
    ),
    "training": Grid("Real training jobs", "training", 50, 20, ("optuna:tpe",), samplers("auto", "tpe")),
}  # fmt: skip


# On the terminal


def comparison_of(runs, tasks, seeds, trials, least_coverage=0.8):
    return measure.compare(runs, tasks, seeds, trials, problems_of(tasks), least_coverage)


def problems_of(tasks):
    return {task: load(task) for task in tasks}


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
    moments = [measure.percent(f) for f in measure.FRACTIONS] + [measure.ANYTIME]
    shown = [f"{label}@{moment}" for label in ("regret", "rank") for moment in moments]
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
        if name in comparison.optimizers:
            print_tests(comparison, name)


def print_tests(comparison, name):
    print(f"\n{name}: families where the difference is significant (paired, 95 %), and tasks where it is worse than random")
    for other in comparison.optimizers:
        for test in measure.paired_by(comparison, name, other, comparison.families.get) if other != name else ():
            if test.better or test.worse:
                verdict = "better" if test.better else "WORSE "
                print(f"  {verdict} than {other:24} on {test.label:14} by {abs(test.difference):.4f}, p {test.p:.2g}")
    if bars.RANDOM in comparison.optimizers and name != bars.RANDOM:
        for test in measure.paired_by(comparison, name, bars.RANDOM, lambda task: task):
            if test.difference > 0:
                print(f"  mean worse than random on {test.label} by {test.difference:.4f}, p {test.p:.2g}")


# Bars


def all_bars(runs, half, tasks_of):
    """Every bar, on the given half ("development", "held_back" or "suite"). `runs`: by the setting of a grid."""
    found = []
    for name, label in (("suite", "fast peers"), ("core", "all peers")):
        grid = GRIDS[name]
        tasks = grid.chosen(tasks_of, half)
        seeds = complete_seeds(runs[""], tasks, grid)
        # A peer that has run part of the grid is judged by that part in the paired tests; ranks need the whole.
        comparison = comparison_of(peers_and(runs[""], [bars.AUTO]), tasks, seeds, grid.trials)
        place = f"{half}, {label}, {len(seeds)} seeds × {grid.trials} trials"
        every = list(range(grid.seeds))
        found += bars.default_bars(place, comparison, runs[""], tasks, every, grid.trials, problems_of(tasks))
    core = GRIDS["core"].chosen(tasks_of, half)
    found += bars.namesake_bars(f"{half}, core", runs[""], core, list(range(20)), 100, problems_of(core))
    grid = GRIDS["suite"]
    tasks = grid.chosen(tasks_of, half)
    found.append(bars.improvement_bar(
        f"{half}, suite", runs[""], "luthier:adaptive_tpe", "luthier:tpe", tasks, list(range(grid.seeds)), grid.trials, problems_of(tasks)
    ))
    grid = GRIDS["fidelity"]
    tasks = grid.chosen(tasks_of, half)
    seeds = complete_seeds(runs[grid.setting], tasks, grid)
    comparison = comparison_of(peers_and(runs[grid.setting], [bars.AUTO + grid.setting]), tasks, seeds, grid.trials)
    found.append(bars.fidelity_bar(f"{half}, several fidelities, {len(seeds)} seeds × {grid.trials} whole trainings", comparison))
    file = FOLDER / "cpu.json"
    return found + bars.cpu_bars(json.loads(file.read_text()) if file.exists() else {})


def peers_and(runs, ours):
    return {name: kept for name, kept in runs.items() if bars.is_peer(name) or name in ours}


# A peer that has run fewer on every task is judged by paired tests alone: ranks on one or two seeds say little of anybody.
FEWEST_SEEDS = 3


def complete_seeds(runs, tasks, grid):
    """Seeds that auto and all anchors have run on every task, of those that have a few such; those of the grid if there are none."""
    complete = []
    for anchor in (bars.AUTO + grid.setting, *grid.anchors):
        kept = runs.get(anchor, {})
        seeds = {seed for seed in range(grid.seeds) if all(has(kept, task, seed, grid.trials) for task in tasks)}
        if len(seeds) >= FEWEST_SEEDS:
            complete.append(seeds)
    return sorted(set(range(grid.seeds)).intersection(*complete)) if complete else list(range(grid.seeds))


def has(kept, task, seed, trials):
    return (task, seed) in kept and measure.long_enough(kept[task, seed], trials)


# CSV


def write_tables(grids, folder):
    """`table.csv`: one row per grid and optimiser. `grids`: {name: (runs, tasks, seeds, trials)}."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, (runs, tasks, seeds, trials) in grids.items():
        comparison = comparison_of(runs, tasks, seeds, trials)
        if comparison.cells:
            rows += csv_rows(name, comparison)
            plot(comparison, folder, name)
    write_csv(rows, folder / "table.csv")


def csv_rows(name, comparison):
    facts = {"grid": name, "tasks": len(comparison.tasks), "runs": len(comparison.cells), "trials": comparison.trials}
    return [facts | row for row in measure.table(comparison, is_rival=bars.is_peer)]


def write_csv(rows, path):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["grid"])
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items()})


# Plots


def plot(comparison, folder, name):
    """`<name>-regret.svg` and, with three optimisers or more, `<name>-ranks.svg`."""
    import matplotlib

    matplotlib.use("Agg")
    # So that a plot of the same figures is the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "luthier", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"})
    plot_regret(comparison, folder / f"{name}-regret.svg")
    if len(comparison.optimizers) > 2 and len(comparison.tasks) > 1:
        plot_ranks(measure.critical_difference(comparison), len(comparison.tasks), folder / f"{name}-ranks.svg")


# Luthier in reds and solid; peers in blues, greens and greys by their family.
STYLES = {
    "luthier:auto": ("#c1121f", "-", 2.4), "luthier:tpe": ("#f4733a", "-", 1.4), "luthier:gp": ("#d81b86", "-", 1.4),
    "luthier:adaptive_tpe": ("#f2a900", "-", 1.4), "luthier:forest": ("#8d1b3d", "-", 1.4), "luthier:cma_es": ("#e07a9b", "-", 1.4),
    "luthier:nsga2": ("#f2a900", "-", 1.4), "luthier:nsga3": ("#e07a9b", "-", 1.4),
    "luthier:bohb": ("#d81b86", "-", 1.4), "luthier:dehb": ("#f2a900", "-", 1.4), "luthier:priorband": ("#8d1b3d", "-", 1.4),
    "luthier:differential_evolution": ("#c1121f", "-", 1.4), "luthier:regularized_evolution": ("#f4733a", "-", 1.4),
    "luthier:nelder_mead": ("#8d1b3d", "-", 1.4), "luthier:coarse_to_fine": ("#d81b86", "-", 1.4), "luthier:halton": ("#f2a900", "-", 1.4),
    "luthier:latin_hypercube": ("#e07a9b", "-", 1.4), "luthier:sobol": ("#b07d4f", "-", 1.4), "luthier:random": ("#e8b4a0", "-", 1.4),
    "random_search:uniform": ("#999999", ":", 1.6), "quasi_random:sobol": ("#666666", ":", 1.2),
    "optuna:tpe": ("#0b5fa5", "--", 1.4), "optuna:gp": ("#3f8fd2", "--", 1.4), "optuna:cmaes": ("#66a3ff", "-.", 1.2),
    "optuna:auto": ("#003a70", "-.", 1.4), "hyperopt:tpe": ("#2a7f3f", "--", 1.2), "hyperopt:atpe": ("#6abf69", "--", 1.2),
    "smac:hpo": ("#6a3d9a", "--", 1.4), "hebo:default": ("#111111", "--", 1.4), "nevergrad:ngopt": ("#8c7b00", "--", 1.2),
    "skopt:gp": ("#00897b", "-.", 1.2), "skopt:forest": ("#4db6ac", "-.", 1.2),
}  # fmt: skip


def plot_regret(comparison, file):
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure, axes = pyplot.subplots(figsize=(7.2, 4.4))
    trials = range(1, comparison.trials + 1)
    ends = []
    for name in comparison.optimizers:
        curve = measure.mean_over_tasks(comparison, comparison.regret[comparison.index(name)].T)
        ends.append((curve[-1], traces.bare(name)))
        color, line, width = STYLES.get(traces.bare(name), (None, "-.", 1.1))
        axes.plot(trials, curve, color=color, linestyle=line, linewidth=width, label=traces.bare(name))
    axes.set(xlabel="full evaluations" if traces.setting_of(comparison.optimizers[0]) == traces.setting(fidelity=True) else "trials", ylabel="mean normalised regret", yscale="log")
    axes.set_xlim(1, comparison.trials)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    order = {name: place for place, (_, name) in enumerate(sorted(ends, reverse=True))}
    handles, labels = axes.get_legend_handles_labels()
    chosen = sorted(range(len(labels)), key=lambda i: order[labels[i]])
    axes.legend([handles[i] for i in chosen], [labels[i] for i in chosen], frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, file)


def plot_ranks(found, tasks, file):
    """Average ranks on a line; bars join groups that Nemenyi's test does not tell apart."""
    import numpy as np
    from matplotlib import pyplot

    order = np.argsort(found.average_ranks, kind="stable")
    ranks = found.average_ranks[order]
    count, half = len(order), (len(order) + 1) // 2
    cliques = found.cliques()
    figure, axes = pyplot.subplots(figsize=(7.2, 1.0 + 0.24 * half + 0.12 * len(cliques)))
    low, high = 1, count
    axes.set_xlim(low - 0.42 * (high - low), high + 0.42 * (high - low))
    axes.axis("off")
    axes.plot([low, high], [0, 0], color="black", linewidth=1)
    for tick in range(low, high + 1):
        axes.plot([tick, tick], [0, 0.15], color="black", linewidth=1)
        axes.text(tick, 0.3, str(tick), ha="center", va="bottom", fontsize=8)
    axes.plot([low, min(low + found.difference, high)], [1.6, 1.6], color="black", linewidth=1.5)
    axes.text(low, 1.75, f"critical difference {found.difference:.2f} over {tasks} tasks (95 %)", fontsize=8, va="bottom")
    depth = 0.5 * len(cliques) + 0.6
    for place, (first, last) in enumerate(cliques):
        y = -0.45 * (place + 1)
        axes.plot([ranks[first] - 0.04, ranks[last] + 0.04], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    for place in range(count):
        left = place < half
        y = -(depth + 0.9 * (place if left else count - 1 - place))
        end = low - 0.06 * (high - low) if left else high + 0.06 * (high - low)
        name = traces.bare(found.optimizers[order[place]])
        color = STYLES.get(name, ("#333333",))[0] if not bars.is_peer(name) else "#333333"
        axes.plot([ranks[place], ranks[place], end], [0, y, y], color=color, linewidth=0.9)
        axes.text(end, y, f" {name} {ranks[place]:.2f} ", ha="right" if left else "left", va="center", fontsize=8.5, color=color,
                  fontweight="bold" if not bars.is_peer(name) else "normal")
    save(figure, file)


def save(figure, file):
    from matplotlib import pyplot

    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


# The page


def write_page(runs, build, tasks_of, defined, folder=FOLDER):
    """The section of `docs/benchmarks.md` between its two marks, and the files it shows. `build`: which Luthier it is. `runs`: by the setting of a grid. `defined`: names of all optimisers, with their variants."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    rows, details, parts = [], [], [introduction(build)]
    for half in ("held_back", "development"):
        for name in ("core", "suite", "parallel", "others", "fidelity"):
            grid = GRIDS[name]
            title = f"{HALVES[half]}: {grid.title[0].lower()}{grid.title[1:]}"
            parts.append(grid_section(title, f"{name}-{half}", runs[grid.setting], grid.chosen(tasks_of, half), grid, folder, rows, details))
    for name in ("curves", "formulas", "multiobjective", "training"):
        grid = GRIDS[name]
        parts.append(grid_section(grid.title, name, runs[grid.setting], grid.chosen(tasks_of), grid, folder, rows, details))
    parts.append(pairs_section(runs[""], tasks_of))
    parts.append(families_section(details))
    parts.append(losses_section(details))
    parts.append(bars_section(runs, tasks_of))
    parts.append(provenance_section(runs, defined))
    write_csv(rows, folder / "table.csv")
    write_csv(details, folder / "tasks.csv")
    replace_section("\n\n".join(part for part in parts if part))


HALVES = {"held_back": "Held back", "development": "Development half"}


def introduction(build):
    return f"""## Tuning: Luthier beside its peers

How good a result is after how few trials, beside other tuners, each with its default settings. Tasks: 42 with recorded or modelled results
of real training runs (networks, boosted trees, trees; mixed and conditional spaces), functions with known optima, and small real training
jobs. Luthier was developed on one half of the 42 tasks; on the other half, *held back*, nothing was tuned (`benchmarks/suite/split.json` has the
rule). Earlier builds have been measured on it, and one change was weakened because it gained nothing there: the first points keep to the inner
part of the ranges in every other pair, not all of them, as was best on the first half.

*Normalised regret* is (best value so far − best known) / (median of random points − best known), clipped to [0, 1]: 0 is the best known, 1
no better than a random point. *Rank* is among the rows of the table, on each run, ties shared; *all moments* is its mean over the whole budget. Both are means over tasks; in brackets the
95 % interval from a bootstrap over tasks and seeds. Only runs that all rows of a table have are compared. *CPU* is milliseconds of ask and
tell a trial. Peers were recorded once, on a shared and busy machine (`benchmarks/suite/traces/`), so their CPU is rough; the ratios under
*Bars* are from one run, in turn. No optimiser knows more than the space, the direction, the seed and the number of trials; Luthier is also
told each trial's (recorded) seconds, as it would measure them, but not where there are several fidelities.

*Share* is of the budget: after how much of it the mean regret of a row is that at which the task's best peer ends (median over tasks; –: not on most tasks).

This is {build}. `python3 benchmarks/suite/run.py full` makes all of it, `… quick` a part of it in a quarter of an hour. All figures:
`benchmarks/suite/report/table.csv`, task by task `benchmarks/suite/report/tasks.csv`."""


def grid_section(title, name, runs, tasks, grid, folder, rows, details):
    runs = grid.rows(runs)
    seeds = complete_seeds(runs, tasks, grid)
    comparison = comparison_of(runs, tasks, seeds, grid.trials)
    if not comparison.cells or not any(not bars.is_peer(row) for row in comparison.optimizers):
        return ""
    plot(comparison, folder, name)
    found = csv_rows(name, comparison)
    rows += found
    details += [{"grid": name} | row for row in measure.by_task(comparison, bars.is_peer)]
    budget = "full evaluations" if grid.fidelity else "trials"
    seeds_used = len({seed for _, seed in comparison.cells})
    about = f"{len(comparison.tasks)} tasks, {seeds_used} seeds, {grid.trials} {budget}."
    text = [f"### {title}", "", f"{about} {grid.note}".rstrip(), ""]
    text += page_table(found)
    shown = os.path.relpath(folder, PAGE.parent)
    left = [f"{row} ({why})" for row, why in comparison.left_out.items() if has_any(runs[row], tasks)]
    if left:
        text += ["", f"Not in the table for want of runs: {', '.join(left)}."]
    if comparison.missing:
        among = ", ".join(sorted({task for task, _ in comparison.missing}))
        text += ["", f"{len(comparison.missing)} runs are missing from one row or another, and so left out of all: on {among}."]
    text += ["", f"![Mean normalised regret over trials]({shown}/{name}-regret.svg)"]
    if (folder / f"{name}-ranks.svg").exists():
        text += ["", f"![Average ranks and what is told apart]({shown}/{name}-ranks.svg)"]
    return "\n".join(text)


def has_any(kept, tasks):
    return any(task in set(tasks) for task, _ in kept)


def page_table(found):
    head = ["optimiser"] + [f"regret {p}" for p in ("10 %", "25 %", "50 %", "100 %")] + [f"rank {p}" for p in ("25 %", "50 %", "100 %")]
    head += ["rank, all moments", "share", "CPU ms"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in found:
        name = traces.bare(row["optimizer"])
        cells = [f"**{name}**" if not bars.is_peer(name) else name]
        cells += [f"{row[f'regret@{p}']:.3f}" for p in ("10%", "25%", "50%")]
        cells.append(f"{row['regret@100%']:.4f} ({row['regret@100%_low']:.3f}–{row['regret@100%_high']:.3f})")
        cells += [f"{row[f'rank@{p}']:.2f}" for p in ("25%", "50%")]
        cells.append(f"{row['rank@100%']:.2f} ({row['rank@100%_low']:.2f}–{row['rank@100%_high']:.2f})")
        share = f"{row['share']:.2f}" if row["share"] <= 1.0 else "–"
        cells += [f"{row['rank@any']:.2f}", share, f"{row['cpu_ms']:.3g}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def pairs_section(runs, tasks_of):
    """Auto beside each peer on all the runs that the two have in common, so that peers with few runs are judged by those."""
    lines = ["### `auto` beside each peer, on all runs that both have", "", "Final mean regret on the core after 100 trials. *p*: Wilcoxon's signed-rank test over runs, two-sided.", ""]
    lines += ["| peer | half | runs | tasks | auto | peer | auto better / worse | p |", "|---|---|---|---|---|---|---|---|"]
    grid = GRIDS["core"]
    for half in ("held_back", "development"):
        tasks = [task for task in tasks_of(half) if task in tasks_of(grid.tasks)]
        for peer in sorted(filter(bars.is_peer, runs)):
            both = bars.pair(runs, bars.AUTO, peer, tasks, list(range(grid.seeds)), grid.trials, problems_of(tasks))
            if both is None:
                continue
            regret = measure.at_fraction(both, 1.0)
            test, means = measure.paired(peer, regret[0], regret[1]), measure.mean_over_tasks(both, regret)
            lines.append(
                f"| {peer} | {HALVES[half].lower()} | {test.pairs} | {len(both.tasks)} | {means[0]:.4f} | {means[1]:.4f} | {test.wins} / {test.losses} | {test.p:.2g} |"
            )
    return "\n".join(lines) if bars.AUTO in runs else ""


def families_section(details):
    """`auto` beside the best peer of each family of problems, in every table. `details`: the rows of `tasks.csv`."""
    lines = ["### Family by family", "", "Mean final regret of `auto` and of the peer that has the least there.", ""]
    lines += ["| table | family | tasks | auto | best peer | its regret |", "|---|---|---|---|---|---|"]
    families = {}
    for row in details:
        regrets = families.setdefault((row["grid"], row["family"]), {})
        regrets.setdefault(traces.bare(row["optimizer"]), []).append(row["regret@100%"])
    for (grid, family), regrets in families.items():
        means = {name: sum(values) / len(values) for name, values in regrets.items()}
        peers = [name for name in means if bars.is_peer(name)]
        if bars.AUTO in means and peers:
            best = min(peers, key=means.get)
            ours, theirs = (f"**{x:.4f}**" if x <= min(means[bars.AUTO], means[best]) else f"{x:.4f}" for x in (means[bars.AUTO], means[best]))
            lines.append(f"| {grid} | {family} | {len(regrets[bars.AUTO])} | {ours} | {best} | {theirs} |")
    return "\n".join(lines)


# What is lost by less is in `tasks.csv` alone.
LOST_BY = 0.01


def losses_section(details):
    """Where a peer ends better than `auto`, in every table. `details`: the rows of `tasks.csv`."""
    lines = ["### What Luthier loses", "", f"Tasks on which a peer's mean final regret is below that of `auto` by more than {LOST_BY}, table by table.", ""]
    lines += ["| table | task | best peer | its regret | auto |", "|---|---|---|---|---|"]
    tasks, by_little = {}, 0
    for row in details:
        tasks.setdefault((row["grid"], row["task"]), {})[traces.bare(row["optimizer"])] = row["regret@100%"]
    for (grid, task), regrets in tasks.items():
        peers = [name for name in regrets if bars.is_peer(name)]
        if bars.AUTO not in regrets or not peers:
            continue
        best = min(peers, key=regrets.get)
        theirs, ours = regrets[best], regrets[bars.AUTO]
        if ours - theirs > LOST_BY:
            lines.append(f"| {grid} | {task} | {best} | {theirs:.3f} | {ours:.3f} |")
        else:
            by_little += ours > theirs + 1e-6
    lines += ["", f"{by_little} more are lost by less, of {len(tasks)} in all; `benchmarks/suite/report/tasks.csv` has every task."]
    return "\n".join(lines)


def bars_section(runs, tasks_of):
    lines = ["### Bars", "", "What Luthier has set itself to reach (`python3 benchmarks/suite/run.py bars`), on the development half and on the tasks held back."]
    for half in ("development", "held_back"):
        lines += ["", f"| {HALVES[half].lower()} | | |", "|---|---|---|"]
        for bar in all_bars(runs, half, tasks_of):
            if half == "held_back" and bar.name.startswith("CPU"):
                continue
            verdict = {True: "pass", False: "**fail**", None: "not judged"}[bar.passed]
            lines.append(f"| {bar.name.removeprefix(half + ', ').replace('|', '/')} | {verdict} | {bar.figures} |")
    return "\n".join(lines)


def provenance_section(runs, defined):
    """Versions, dates, coverage, and what is not there."""
    notes = traces.versions()
    lines = ["### Peers", "", "| peer | version | recorded | runs | tasks |", "|---|---|---|---|---|"]
    for setting in sorted(runs):
        for name, kept in sorted(runs[setting].items()):
            note = notes.get(name)
            if note and kept:
                dates = note["first"] if note["first"] == note.get("last") else f"{note['first']} … {note['last']}"
                lines.append(f"| {name} | {note['version']} | {dates} | {len(kept)} | {len({task for task, _ in kept})} |")
    recorded = {traces.bare(name) for kept in runs.values() for name in kept}
    absent = [name for name in defined if bars.is_peer(name) and name not in recorded]
    if absent:
        lines += ["", f"Not recorded: {', '.join(absent)}."]
    lines += ["", "What each peer needs, and what was met in installing them, is in `benchmarks/peers/README.md`."]
    return "\n".join(lines)


def replace_section(text):
    page = PAGE.read_text()
    if BEGIN not in page:
        # Before the first section, behind the page's introduction.
        at = page.index("\n## ") + 1
        page = page[:at] + f"{BEGIN}\n{END}\n\n" + page[at:]
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])
