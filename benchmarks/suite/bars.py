"""What Luthier has set itself to reach, each bar with its figures. A bar passes, fails, or lacks the runs to be judged."""

from dataclasses import dataclass

import measure
import traces

AUTO = "luthier:auto"
RANDOM = "random_search:uniform"

# Each of Luthier's samplers and the peers it is named after.
NAMESAKES = {
    "luthier:tpe": ["optuna:tpe"],
    "luthier:adaptive_tpe": ["hyperopt:atpe"],
    "luthier:gp": ["hebo:default", "optuna:gp"],
    "luthier:forest": ["smac:hpo"],
    "luthier:cma_es": ["optuna:cmaes"],
}


# With fewer pairs Wilcoxon's test cannot find anything at 95 %, so passing would mean nothing.
FEWEST_PAIRS = 6


@dataclass
class Bar:
    """`passed` is None where there are no runs to judge it by."""

    name: str
    passed: bool | None
    figures: str

    def line(self):
        verdict = {True: "pass", False: "FAIL", None: "none"}[self.passed]
        return f"{verdict}  {self.name}: {self.figures}"


def is_peer(name):
    return not name.startswith("luthier:")


def default_bars(label, comparison, runs, tasks, seeds, trials, problems):
    """The bars of `auto` on one grid. `comparison` has the optimisers that have run it; the paired tests take each peer's own common runs."""
    if AUTO not in comparison.optimizers:
        return [Bar(f"{label}: auto", None, "auto has not been run")]
    peers = [name for name in comparison.optimizers if is_peer(name)]
    if not peers:
        return [Bar(f"{label}: auto", None, "no peer has been recorded here")]
    rivals = comparison.only([AUTO, *peers])
    bars = [first_bar(label, rivals, what) for what in ("rank", "regret")]
    bars.append(families_bar(label, runs, tasks, seeds, trials, problems))
    bars.append(share_bar(label, rivals, peers))
    bars.append(random_bar(label, runs, tasks, seeds, trials, problems))
    return bars


def first_bar(label, rivals, what):
    texts, passed = [], True
    for fraction in (0.25, 0.5, 1.0):
        values = measure.at_fraction(rivals, fraction)
        means = measure.mean_over_tasks(rivals, measure.ranks(values) if what == "rank" else values)
        ours, best = means[0], int(means[1:].argmin()) + 1
        passed &= bool(ours <= means[best] + 1e-9)
        texts.append(f"{measure.percent(fraction)} {ours:.4g} (best peer {means[best]:.4g}, {rivals.optimizers[best]})")
    name = "average rank" if what == "rank" else "mean normalised regret"
    return Bar(f"{label}: auto is first by {name}", passed, "; ".join(texts))


def families_bar(label, runs, tasks, seeds, trials, problems):
    better, tested = [], 0
    for peer in filter(is_peer, runs):
        both = pair(runs, AUTO, peer, tasks, seeds, trials, problems)
        if both is None:
            continue
        for fraction in (0.25, 0.5, 1.0):
            for test in measure.paired_by(both, peer, AUTO, both.families.get, fraction):
                if test.pairs < FEWEST_PAIRS:
                    continue
                tested += 1
                if test.better:
                    better.append(f"{peer} on {test.label} at {measure.percent(fraction)} (by {-test.difference:.3f}, p {test.p:.2g}, {test.pairs} pairs)")
    text = f"{len(better)} of {tested} tests with {FEWEST_PAIRS} runs or more" + (": " + "; ".join(better) if better else "")
    return Bar(f"{label}: no peer is significantly better on any family", not better if tested else None, text)


def share_bar(label, rivals, peers):
    import numpy as np

    shares = measure.share_needed(rivals, AUTO, peers)
    median = float(np.median(list(shares.values())))
    overall = peers[int(measure.mean_over_tasks(rivals, measure.at_fraction(rivals, 1.0))[1:].argmin())]
    against = float(np.median(list(measure.share_needed(rivals, AUTO, [overall]).values())))
    never = sum(np.isinf(share) for share in shares.values())
    return Bar(
        f"{label}: auto reaches the best peer's final regret with at most two thirds of the evaluations",
        median <= 2 / 3,
        f"median over {len(shares)} tasks {median:.2f} against each task's best peer (not reached on {never}); "
        f"{against:.2f} against {overall}, the best peer overall",
    )


def random_bar(label, runs, tasks, seeds, trials, problems):
    both = pair(runs, AUTO, RANDOM, tasks, seeds, trials, problems)
    if both is None:
        return Bar(f"{label}: auto is never significantly worse than random search", None, "no common runs")
    tests = measure.paired_by(both, AUTO, RANDOM, lambda task: task)
    corrected = measure.holm(tests)
    worse = [f"{test.label} (by {test.difference:.3f}, p {p:.2g})" for test, p in zip(tests, corrected) if p < 0.05 and test.difference > 0]
    raw = [test.label for test in tests if test.worse]
    return Bar(
        f"{label}: auto is never significantly worse than random search on a task",
        not worse,
        f"{len(worse)} of {len(tests)} tasks after Holm's correction{': ' if worse else ''}{'; '.join(worse)}; without it {len(raw)}"
        + (f" ({', '.join(raw)})" if raw else ""),
    )


def fidelity_bar(label, comparison):
    """That `auto` is first by its average rank over the whole budget, where trials can be stopped and go on."""
    name = f"{label}: auto is first by average rank of anytime regret"
    ours = AUTO + "+fidelity"
    if ours not in comparison.optimizers or len(comparison.optimizers) < 2 or not comparison.cells:
        return Bar(name, None, "auto or its peers have not been run")
    regret, ranks = (measure.mean_over_tasks(comparison, values) for values in measure.anytime(comparison))
    order = sorted(range(len(ranks)), key=lambda i: ranks[i])
    figures = "; ".join(f"{traces.bare(comparison.optimizers[i])} {ranks[i]:.2f} (regret {regret[i]:.3f})" for i in order)
    return Bar(name, comparison.optimizers[order[0]] == ours, figures)


def namesake_bars(label, runs, tasks, seeds, trials, problems):
    bars = []
    for ours, peers in NAMESAKES.items():
        for peer in peers:
            name = f"{label}: {ours} is at least level with {peer}"
            both = pair(runs, ours, peer, tasks, seeds, trials, problems)
            if both is None:
                bars.append(Bar(name, None, "no common runs"))
                continue
            if len(both.cells) < FEWEST_PAIRS:
                bars.append(Bar(name, None, f"{len(both.cells)} common runs only"))
                continue
            test, figures = finally_paired(both)
            bars.append(Bar(name, not test.worse, figures))
    return bars


def improvement_bar(label, runs, ours, plain, tasks, seeds, trials, problems):
    """Whether a sampler is significantly better than the plain one whose name it extends."""
    name = f"{label}: {ours} is better than {plain}"
    both = pair(runs, ours, plain, tasks, seeds, trials, problems)
    if both is None or len(both.cells) < FEWEST_PAIRS:
        return Bar(name, None, "too few common runs")
    test, figures = finally_paired(both)
    return Bar(name, test.better, figures)


def finally_paired(both):
    """The test of the first against the second by final regret, and its figures in words."""
    regret = measure.at_fraction(both, 1.0)
    test = measure.paired(both.optimizers[1], regret[0], regret[1])
    verdict = "better" if test.better else "worse" if test.worse else "level"
    means = measure.mean_over_tasks(both, regret)
    figures = (
        f"{verdict}: final regret {means[0]:.4f} against {means[1]:.4f}, p {test.p:.2g}, "
        f"{test.wins} runs better and {test.losses} worse of {test.pairs}, {len(both.tasks)} tasks"
    )
    return test, figures


def pair(runs, first, second, tasks, seeds, trials, problems):
    """A comparison of two on all the runs they have in common, or None if there are none."""
    if first not in runs or second not in runs:
        return None
    both = measure.compare({name: runs[name] for name in (first, second)}, tasks, seeds, trials, problems, least_coverage=0.0)
    return both if both.cells else None


def cpu_bars(figures):
    """From the figures of `cpu.py`: {name: {"luthier": ms, "peer": ms}}."""
    bars = []
    for name, limit in (("tpe@1000", 0.01), ("tpe@10000", 0.01), ("gp@1-300", 1 / 30)):
        found = figures.get(name, {})
        title = f"CPU: {name} at most 1/{round(1 / limit)} of Optuna's"
        if "luthier" in found and "optuna" in found:
            ratio = found["luthier"] / found["optuna"]
            bars.append(Bar(title, ratio <= limit, f"{found['luthier']:.3g} ms against {found['optuna']:.4g} ms, 1/{1 / ratio:.0f}"))
        else:
            bars.append(Bar(title, None, "not measured: run.py cpu"))
    auto = "CPU: auto at most a tenth of trials of"
    for name, limit, title in (
        ("tpe@100000", 10.0, "CPU: tpe at 100,000 trials at most 10 ms"),
        ("auto@100ms", 10.0, f"{auto} 100 ms, mean over 300 asks"),
        ("auto@100ms-2000", 10.0, f"{auto} 100 ms, mean over 100 asks after 2,000 trials"),
        ("auto@100ms-10000", 10.0, f"{auto} 100 ms, mean over 100 asks after 10,000 trials"),
        ("auto@100ms-failed", 10.0, f"{auto} 100 ms, mean over 100 asks after a failed trial and 2,000 others"),
        ("auto@100ms-constraint", 10.0, f"{auto} 100 ms, mean over 300 asks with a constraint"),
        ("auto@100ms-objectives", 10.0, f"{auto} 100 ms, mean over 300 asks with two objectives"),
        ("auto@1s-failed", 100.0, f"{auto} 1 s, mean over 50 asks after a failed trial and 2,000 others"),
        ("auto@1s-constraint", 100.0, f"{auto} 1 s with a constraint, mean over 50 asks after 2,000 trials"),
        ("auto@1s-objectives", 100.0, f"{auto} 1 s with two objectives, mean over 50 asks after 2,000 trials"),
    ):
        found = figures.get(name, {})
        if "luthier" in found:
            bars.append(Bar(title, found["luthier"] <= limit, f"{found['luthier']:.3g} ms"))
        else:
            bars.append(Bar(title, None, "not measured: run.py cpu"))
    return bars
