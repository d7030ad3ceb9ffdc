"""Measures against numbers worked out by hand or by another implementation."""

import math
import types

import measure
import numpy as np
import pytest
from traces import Slice


def problem(direction="min", best=0.0, median=10.0, noisy=False):
    return types.SimpleNamespace(
        direction=direction, best_known=best, random_median=median, noisy=noisy, objectives=[{"name": "v", "direction": direction}], family="f"
    )


def run(task, seed, values, cost=()):
    return Slice(task, seed, list(values), [1.0] * len(values), list(cost))


def compared(table, trials=2, **more):
    """table: {optimiser: {(task, seed): values}}"""
    runs = {name: {key: run(*key, values) for key, values in cells.items()} for name, cells in table.items()}
    tasks = list(dict.fromkeys(task for cells in table.values() for task, _ in cells))
    seeds = sorted({seed for cells in table.values() for _, seed in cells})
    return measure.compare(runs, tasks, seeds, trials, {task: problem() for task in tasks}, **more)


def test_the_incumbent_is_the_best_so_far_and_failures_do_not_count():
    nan = math.nan
    np.testing.assert_array_equal(measure.incumbent(np.array([nan, 3.0, 5.0, nan, 1.0]), "min"), [nan, 3, 3, 3, 1])
    np.testing.assert_array_equal(measure.incumbent(np.array([2.0, nan, 5.0]), "max"), [2, 2, 5])


def test_normalised_regret_runs_from_random_to_best_and_is_clipped():
    curve = measure.regret_curve(problem("max", best=90.0, median=40.0), run("t", 0, [30.0, 65.0, 50.0, 95.0]), 4)
    np.testing.assert_allclose(curve, [1.0, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(measure.regret_curve(problem(), run("t", 0, [math.nan, 5.0]), 2), [1.0, 0.5])


def test_scores_of_noisy_problems_are_taken_as_they_are():
    curve = measure.regret_curve(problem(noisy=True), run("t", 0, [2.0, 5.0, 1.0]), 3)
    np.testing.assert_allclose(curve, [0.2, 0.5, 0.1])


def test_runs_on_several_fidelities_are_read_off_at_their_cost():
    # Work of 0.5, 0.5, 1.5 and 1 evaluations: after one evaluation the second score holds, after two still, after three the third.
    curve = measure.regret_curve(problem(), run("t", 0, [8.0, 6.0, 4.0, 2.0], cost=[0.5, 0.5, 1.5, 1.0]), 3)
    np.testing.assert_allclose(curve, [0.6, 0.6, 0.4])


def test_the_budget_share_is_rounded_up_to_whole_trials():
    assert [measure.trial_at(15, f) for f in (0.1, 0.25, 0.5, 1.0)] == [2, 4, 8, 15]
    assert measure.trial_at(3, 0.1) == 1


def test_ranks_share_ties():
    np.testing.assert_array_equal(measure.ranks(np.array([[0.1, 0.5], [0.1, 0.2], [0.0, 0.9]])), [[2.5, 2], [2.5, 1], [1, 3]])


def test_any_moment_counts_the_same():
    found = compared({"a": {("t", 0): [4, 1]}, "b": {("t", 0): [2, 2]}})
    regret, rank = measure.anytime(found)
    np.testing.assert_allclose(regret, found.regret.mean(axis=2))
    np.testing.assert_array_equal(rank, [[1.5], [1.5]])
    assert {"regret@any", "rank@any", "rank@any_low"} <= set(measure.table(found, draws=2)[0])


def test_only_common_runs_are_compared_and_what_is_missing_is_listed():
    found = compared({"a": {("t", 0): [1, 1], ("t", 1): [1, 1], ("t", 2): [1, 1]}, "b": {("t", 0): [2, 2], ("t", 1): [2]}, "c": {}}, least_coverage=0.3)
    assert found.optimizers == ["a", "b"]
    assert found.cells == [("t", 0)]
    assert found.missing == [("t", 1), ("t", 2)]
    assert found.left_out == {"c": "has 0 of 3 runs"}


def test_every_task_counts_the_same_whatever_its_seeds():
    found = compared({"a": {("t", 0): [4, 4], ("t", 1): [6, 6], ("u", 0): [1, 1]}}, least_coverage=0.1)
    np.testing.assert_allclose(measure.mean_over_tasks(found, measure.at_fraction(found, 1.0)), [(0.5 + 0.1) / 2])


def test_the_share_needed_is_where_our_mean_meets_the_best_rivals_end():
    ours = {("t", 0): [9, 4, 2, 1], ("u", 0): [9, 9, 9, 9]}
    rivals = {("t", 0): [5, 5, 5, 3], ("u", 0): [8, 8, 8, 8]}
    found = compared({"a": ours, "b": rivals, "c": {("t", 0): [9] * 4, ("u", 0): [9] * 4}}, trials=4)
    assert measure.share_needed(found, "a", ["b", "c"]) == {"t": 0.75, "u": math.inf}
    rows = {(row["task"], row["optimizer"]): row for row in measure.by_task(found, lambda name: name != "a")}
    assert (rows["t", "a"]["share"], rows["u", "a"]["share"]) == (0.75, math.inf)
    assert rows["t", "b"]["share"] == measure.share_needed(found, "b", ["c"])["t"]
    assert rows["t", "a"]["family"] == "f" and rows["t", "a"]["runs"] == 1
    assert rows["t", "a"]["regret@100%"] == found.regret[0, 0, -1]
    table = {row["optimizer"]: row for row in measure.table(found, draws=0, is_rival=lambda name: name != "a")}
    assert table["a"]["share"] == math.inf


def test_the_interval_holds_the_mean_and_is_a_point_without_variation():
    same = compared({"a": {(task, seed): [3, 3] for task in "tu" for seed in range(3)}})
    low, high = measure.bootstrap(same, measure.at_fraction(same, 1.0), draws=50)
    np.testing.assert_allclose([low[0], high[0]], [0.3, 0.3])
    rng = np.random.default_rng(1)
    varied = compared({"a": {(task, seed): [v, v] for task in "tuvw" for seed in range(5) for v in [float(rng.uniform(2, 8))]}})
    low, high = measure.bootstrap(varied, measure.at_fraction(varied, 1.0), draws=500)
    mean = measure.mean_over_tasks(varied, measure.at_fraction(varied, 1.0))[0]
    assert low[0] < mean < high[0] and high[0] - low[0] < 0.4


def test_paired_differences_are_judged_by_wilcoxon():
    scipy = pytest.importorskip("scipy.stats")
    first, second = np.array([0.1, 0.2, 0.15, 0.3, 0.12, 0.4, 0.33, 0.21]), np.array([0.2, 0.25, 0.4, 0.37, 0.16, 0.5, 0.3, 0.4])
    found = measure.paired("x", first, second)
    assert found.better and not found.worse and (found.wins, found.losses, found.pairs) == (7, 1, 8)
    assert found.p == pytest.approx(scipy.wilcoxon(np.round(first - second, 6), method="approx").pvalue)
    assert measure.paired("x", first, first).p == 1.0


def test_many_ties_do_not_make_a_rare_difference_significant():
    first, second = np.zeros(30), np.zeros(30)
    second[:5] = 0.1
    assert measure.paired("x", first, second).p > 0.05


def test_holm_multiplies_by_what_is_left_and_never_decreases():
    tests = [measure.PairedTest("", 0, p, 1, 0, 0) for p in (0.01, 0.04, 0.03)]
    assert measure.holm(tests) == pytest.approx([0.03, 0.06, 0.06])


def test_the_critical_difference_is_that_of_demsar():
    # Demšar 2006, table 5a: q = 2.569 for four algorithms; on 14 data sets that makes 1.25.
    pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    table = {name: {(f"t{i}", 0): [v, v] for i in range(14) for v in [float(rng.uniform(1, 9))]} for name in "abcd"}
    found = measure.critical_difference(compared(table))
    assert found.difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=2e-3)


def test_groups_that_are_not_told_apart_are_maximal():
    found = measure.CriticalDifference(list("abcd"), np.array([3.5, 1.0, 1.8, 2.4]), 0.0, 1.0)
    assert found.cliques() == [(0, 1), (1, 2)]
