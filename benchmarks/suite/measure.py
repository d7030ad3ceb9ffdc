"""From runs to figures: regret, ranks, budget shares, CPU, intervals and tests. Pure arithmetic on arrays; reads and draws nothing.

A `Comparison` holds the incumbents' normalised regret of several optimisers on the same cells, a cell being a (task, seed) that every one of
them has run for at least the wanted number of trials. Nothing is ever averaged over cells that not all have.
"""

from dataclasses import dataclass, field

import numpy as np

FRACTIONS = (0.10, 0.25, 0.50, 1.0)
# The name of the mean over the whole budget among those of its fractions.
ANYTIME = "any"


@dataclass
class Comparison:
    """optimizers: names. cells: list of (task, seed), in order. regret: float [optimiser, cell, trial], the incumbent's normalised
    regret after each trial. cpu: float [optimiser, cell], mean CPU milliseconds of ask and tell. families: {task: family}.
    left_out: {optimiser: why}. missing: (task, seed) of the grid that are no cells."""

    optimizers: list
    cells: list
    regret: np.ndarray
    cpu: np.ndarray
    families: dict
    left_out: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)

    @property
    def trials(self):
        return self.regret.shape[2]

    @property
    def tasks(self):
        return list(dict.fromkeys(task for task, _ in self.cells))

    def index(self, optimizer):
        return self.optimizers.index(optimizer)

    def of(self, tasks):
        """The same for some of the tasks."""
        chosen = [i for i, (task, _) in enumerate(self.cells) if task in set(tasks)]
        return self.with_cells(chosen)

    def with_cells(self, chosen):
        cells = [self.cells[i] for i in chosen]
        return Comparison(self.optimizers, cells, self.regret[:, chosen], self.cpu[:, chosen], self.families, self.left_out, self.missing)

    def only(self, optimizers):
        chosen = [self.index(name) for name in optimizers]
        return Comparison(list(optimizers), self.cells, self.regret[chosen], self.cpu[chosen], self.families, self.left_out, self.missing)


def compare(runs, tasks, seeds, trials, problems, least_coverage=0.8):
    """A `Comparison` on the grid tasks × seeds.

    runs: {optimiser: {(task, seed): Slice}}. problems: {task: Problem}. An optimiser that has run less than `least_coverage` of the grid is left
    out, and so are the cells that one of the others lacks.
    """
    grid = [(task, seed) for task in tasks for seed in seeds]
    has = {name: [cell for cell in grid if cell in kept and long_enough(kept[cell], trials)] for name, kept in runs.items()}
    left_out = {name: f"has {len(cells)} of {len(grid)} runs" for name, cells in has.items() if len(cells) < least_coverage * len(grid)}
    names = [name for name in runs if name not in left_out]
    common = set(grid).intersection(*(has[name] for name in names))
    cells = [cell for cell in grid if cell in common]
    regret = np.array([[regret_curve(problems[task], runs[name][task, seed], trials) for task, seed in cells] for name in names])
    cpu = np.array([[np.mean(runs[name][cell].cpu[:trials]) for cell in cells] for name in names])
    return Comparison(
        names,
        cells,
        regret.reshape(len(names), len(cells), trials),
        cpu.reshape(len(names), len(cells)),
        {task: problems[task].family for task in tasks},
        left_out,
        [cell for cell in grid if cell not in common],
    )


def long_enough(run, trials):
    """Costs are recorded to four digits, so their sum may be a little short of the budget."""
    return sum(run.cost) >= 0.998 * trials if run.cost else run.trials >= trials


def regret_curve(problem, run, trials):
    """The incumbent's normalised regret after 1 … `trials` trials, or, for runs with costs, after so many full evaluations."""
    values = np.array(run.values, dtype=float)
    if run.cost:
        return regret_by_cost(problem, values, np.cumsum(run.cost), trials)
    values = values[:trials]
    if not scored(problem):
        values = incumbent(values, problem.direction)
    return normalised(problem, values)


def scored(problem):
    """Whether traces hold the score of the result so far, instead of each trial's value."""
    return problem.noisy or len(problem.objectives) > 1


def incumbent(values, direction):
    """Best so far; NaN until there is a value."""
    worst = np.inf if direction == "min" else -np.inf
    filled = np.where(np.isnan(values), worst, values)
    best = np.minimum.accumulate(filled) if direction == "min" else np.maximum.accumulate(filled)
    return np.where(np.isinf(best), np.nan, best)


def regret_by_cost(problem, scores, spent, trials):
    regret = normalised(problem, scores)
    # The score in force once `budget` evaluations are spent: that of the last piece of work that ended within it.
    last = np.searchsorted(spent, np.arange(1, trials + 1) + 1e-9, side="right") - 1
    return np.where(last >= 0, regret[np.maximum(last, 0)], 1.0)


def normalised(problem, values):
    """(value − best) / (random_median − best), clipped to [0, 1]; NaN is 1."""
    regret = (values - problem.best_known) / (problem.random_median - problem.best_known)
    return np.clip(np.where(np.isnan(regret), 1.0, regret), 0.0, 1.0)


def at_fraction(comparison, fraction):
    """Regret [optimiser, cell] after that share of the budget, rounded up to whole trials."""
    return comparison.regret[:, :, trial_at(comparison.trials, fraction) - 1]


def trial_at(trials, fraction):
    return max(1, int(np.ceil(fraction * trials - 1e-9)))


def ranks(regret):
    """Rank of each optimiser in each cell, 1 is best, ties share the mean of their ranks. [optimiser, cell]"""
    from scipy.stats import rankdata

    # Values are recorded to about four digits of their regret: closer ones are ties.
    return rankdata(np.round(regret, 6), axis=0)


def anytime(comparison):
    """Regret and rank, each [optimiser, cell], averaged over the whole budget: what one has whenever one stops."""
    moments = np.stack([ranks(comparison.regret[:, :, trial]) for trial in range(comparison.trials)])
    return comparison.regret.mean(axis=2), moments.mean(axis=0)


def task_means(comparison, values):
    """Means over the seeds of each task: [optimiser, task]."""
    return np.stack([values[:, rows].mean(axis=1) for rows in rows_by_task(comparison)], axis=1)


def rows_by_task(comparison):
    tasks = np.array([task for task, _ in comparison.cells])
    return [np.flatnonzero(tasks == task) for task in comparison.tasks]


def mean_over_tasks(comparison, values):
    """Every task counts the same, however many seeds it has."""
    return task_means(comparison, values).mean(axis=1)


def bootstrap(comparison, values, draws=1000, seed=0, statistic=None):
    """95 % interval (low, high), each [optimiser], of the mean over tasks: tasks are drawn with replacement, and seeds within them."""
    rng = np.random.default_rng(seed)
    rows = rows_by_task(comparison)
    means = np.empty((draws, values.shape[0]))
    for draw in range(draws):
        chosen = rng.integers(len(rows), size=len(rows))
        means[draw] = np.mean([values[:, rng.choice(rows[task], size=len(rows[task]))].mean(axis=1) for task in chosen], axis=0)
    return np.quantile(means, 0.025, axis=0), np.quantile(means, 0.975, axis=0)


def table(comparison, fractions=FRACTIONS, draws=1000, is_rival=lambda name: True):
    """One dict per optimiser, best final regret first: regret and rank at each fraction and over the whole budget, with their 95 % intervals,
    CPU per trial, and the median over tasks of the share of the budget after which it is where the task's best rival ends (inf: never)."""
    rows = [{"optimizer": name} for name in comparison.optimizers]
    moments = {percent(fraction): at_fraction(comparison, fraction) for fraction in fractions}
    columns = {moment: (regret, ranks(regret)) for moment, regret in moments.items()} | {ANYTIME: anytime(comparison)}
    for moment, both in columns.items():
        for label, values in zip(("regret", "rank"), both):
            mean = mean_over_tasks(comparison, values)
            low, high = bootstrap(comparison, values, draws) if draws else (mean, mean)
            for i, row in enumerate(rows):
                row[f"{label}@{moment}"] = mean[i]
                row[f"{label}@{moment}_low"] = low[i]
                row[f"{label}@{moment}_high"] = high[i]
    shares = shares_needed(comparison, is_rival)
    for i, row in enumerate(rows):
        row["cpu_ms"] = float(comparison.cpu[i].mean()) if comparison.cells else float("nan")
        row["share"] = float(np.median(list(shares[row["optimizer"]].values()))) if row["optimizer"] in shares else float("nan")
    return sorted(rows, key=lambda row: row[f"regret@{percent(fractions[-1])}"])


def percent(fraction):
    return f"{100 * fraction:.0f}%"


def shares_needed(comparison, is_rival):
    """{optimiser: {task: share}} as of `share_needed`, each beside all rivals but itself; none for an only rival."""
    means = {name: task_means_over_trials(comparison, name) for name in comparison.optimizers}
    rivals = [name for name in comparison.optimizers if is_rival(name)]
    beside = {name: [rival for rival in rivals if rival != name] for name in comparison.optimizers}
    return {name: shares_of(comparison, means, name, others) for name, others in beside.items() if others}


def by_task(comparison, is_rival, fractions=FRACTIONS):
    """One dict per task and optimiser: the task's family, runs, mean regret and rank at each fraction, and `share_needed` beside the rivals."""
    shares = shares_needed(comparison, is_rival)
    regrets = {percent(fraction): at_fraction(comparison, fraction) for fraction in fractions}
    means = {moment: (task_means(comparison, regret), task_means(comparison, ranks(regret))) for moment, regret in regrets.items()}
    rows = []
    for i, (task, cells) in enumerate(zip(comparison.tasks, rows_by_task(comparison))):
        for k, name in enumerate(comparison.optimizers):
            row = {"task": task, "family": comparison.families[task], "optimizer": name, "runs": len(cells)}
            for moment, (regret, rank) in means.items():
                row |= {f"regret@{moment}": float(regret[k, i]), f"rank@{moment}": float(rank[k, i])}
            rows.append(row | {"share": float(shares.get(name, {}).get(task, float("nan")))})
    return rows


def share_needed(comparison, optimizer, rivals):
    """{task: share of the budget after which the optimiser's mean regret over seeds is that of the task's best rival at the end}; inf if it
    never is."""
    means = {name: task_means_over_trials(comparison, name) for name in [optimizer, *rivals]}
    return shares_of(comparison, means, optimizer, rivals)


def shares_of(comparison, means, optimizer, rivals):
    """`share_needed` from the mean regret of each optimiser after each trial."""
    shares = {}
    for i, task in enumerate(comparison.tasks):
        goal = min(means[name][i][-1] for name in rivals)
        reached = np.flatnonzero(means[optimizer][i] <= goal + 1e-6)
        shares[task] = (reached[0] + 1) / comparison.trials if len(reached) else np.inf
    return shares


def task_means_over_trials(comparison, optimizer):
    """[task][trial]"""
    regret = comparison.regret[comparison.index(optimizer)]
    return [regret[rows].mean(axis=0) for rows in rows_by_task(comparison)]


@dataclass
class PairedTest:
    """`difference`: mean regret of the first minus that of the second, < 0 if the first is better. `p`: two-sided Wilcoxon signed-rank."""

    label: str
    difference: float
    p: float
    pairs: int
    wins: int
    losses: int

    @property
    def better(self):
        return self.p < 0.05 and self.difference < 0

    @property
    def worse(self):
        return self.p < 0.05 and self.difference > 0


def paired(label, first, second):
    """`PairedTest` of two arrays of regret over the same cells."""
    from scipy.stats import wilcoxon

    difference = np.round(np.asarray(first) - np.asarray(second), 6)
    p = 1.0
    if np.any(difference != 0):
        # "zsplit": ties count half for either side, so that many ties do not make a rare difference significant.
        p = float(wilcoxon(difference, zero_method="zsplit", method="approx").pvalue)
    return PairedTest(label, float(difference.mean()), p, len(difference), int((difference < 0).sum()), int((difference > 0).sum()))


def paired_by(comparison, first, second, key, fraction=1.0):
    """Tests within each group of cells; `key(task)` names a task's group."""
    regret = at_fraction(comparison, fraction)
    groups = {}
    for i, (task, _) in enumerate(comparison.cells):
        groups.setdefault(key(task), []).append(i)
    a, b = regret[comparison.index(first)], regret[comparison.index(second)]
    return [paired(label, a[rows], b[rows]) for label, rows in groups.items()]


def holm(tests):
    """p-values of `tests` after Holm's correction, in their order."""
    order = sorted(range(len(tests)), key=lambda i: tests[i].p)
    corrected, running = [0.0] * len(tests), 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, tests[i].p * (len(tests) - place)))
        corrected[i] = running
    return corrected


@dataclass
class CriticalDifference:
    """Friedman's test on ranks over tasks, and Nemenyi's critical difference at 95 % (Demšar 2006)."""

    optimizers: list
    average_ranks: np.ndarray
    p: float
    difference: float

    def cliques(self):
        """Maximal groups of optimisers, as index ranges (first, last) in the order of rank, that are not told apart."""
        order = np.argsort(self.average_ranks, kind="stable")
        sorted_ranks = self.average_ranks[order]
        found = []
        for i in range(len(order)):
            j = int(np.searchsorted(sorted_ranks, sorted_ranks[i] + self.difference, side="right")) - 1
            if j > i and (not found or j > found[-1][1]):
                found.append((i, j))
        return found


def critical_difference(comparison, fraction=1.0):
    from scipy.stats import friedmanchisquare, studentized_range

    means = task_means(comparison, at_fraction(comparison, fraction))
    by_task = ranks(means)
    k, n = by_task.shape
    q = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2.0)
    p = float(friedmanchisquare(*by_task).pvalue) if k > 2 and n > 1 else float("nan")
    return CriticalDifference(comparison.optimizers, by_task.mean(axis=1), p, float(q * np.sqrt(k * (k + 1) / (6.0 * n))))
