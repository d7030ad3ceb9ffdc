"""Verdicts: a bar passes, fails, or is not judged for want of runs."""

import bars
import cpu
import pytest
import report
from test_measure import compared, problem, run

OURS = bars.AUTO + "+fidelity"


def test_the_bar_of_several_fidelities_counts_every_moment():
    # Ours is ahead at the first moment of both tasks and behind at the second of one only.
    table = {
        OURS: {("a", 0): [2.0, 2.0], ("b", 0): [1.0, 1.0]},
        "peer+fidelity": {("a", 0): [5.0, 1.0], ("b", 0): [5.0, 4.0]},
    }
    bar = bars.fidelity_bar("here", compared(table))
    assert bar.passed
    assert bar.figures == "luthier:auto 1.25 (regret 0.150); peer 1.75 (regret 0.375)"
    turned = {OURS: table["peer+fidelity"], "peer+fidelity": table[OURS]}
    assert bars.fidelity_bar("here", compared(turned)).passed is False


def test_without_peers_there_is_nothing_to_be_first_of():
    alone = compared({OURS: {("a", 0): [2.0, 2.0]}})
    assert bars.fidelity_bar("here", alone).passed is None


def test_a_sampler_that_extends_another_must_be_better_than_it_beyond_chance():
    def verdict(ours, plain):
        values = {"luthier:ours": ours, "luthier:plain": plain}
        runs = {name: {("t", seed): run("t", seed, [value]) for seed, value in enumerate(of)} for name, of in values.items()}
        return bars.improvement_bar("here", runs, "luthier:ours", "luthier:plain", ["t"], range(10), 1, {"t": problem()}).passed

    assert verdict([1.0] * 8, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]) is True
    assert verdict([1.0] * 8, [1.0] * 8) is False
    assert verdict([3.0] * 8, [2.0] * 8) is False
    assert verdict([1.0] * 3, [2.0] * 3) is None


def test_every_figure_of_cpu_has_its_bar():
    figures = {name: {"luthier": 1.0, "optuna": 1000.0} for name in cpu.FIGURES_BY_NAME}
    found = bars.cpu_bars(figures)
    assert len(found) == len(figures) and all(bar.passed for bar in found)
    slow = {name: {"luthier": 101.0, "optuna": 1000.0} for name in figures}
    assert not any(bar.passed for bar in bars.cpu_bars(slow))
    assert all(bar.passed is None for bar in bars.cpu_bars({}))


@pytest.mark.parametrize(("half", "expected"), [(None, ["a", "b"]), ("development", ["b"])])
def test_a_grid_takes_its_own_tasks_of_a_half(half, expected):
    names = {"core": ["a", "b"], "development": ["b", "c"]}
    assert report.Grid("", "core", 1, 1, ()).chosen(names.get, half) == expected
