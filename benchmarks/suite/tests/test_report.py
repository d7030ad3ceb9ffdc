"""Rows: which optimisers a part of the page compares, and which are told as missing."""

import types

import measure
import optimizers
import pytest
import report
import traces


def test_every_sampler_has_a_row_somewhere():
    luthier = pytest.importorskip("optimizers.luthier", exc_type=ImportError)
    registered = {f"luthier:{entry[0]}" for entry in luthier.luthier.samplers()}
    left_out = {f"luthier:{name}" for name in luthier.LEFT_OUT}
    rows = {name for grid in report.GRIDS.values() for name in grid.ours}
    assert rows | left_out == registered and not rows & left_out


def test_a_sampler_made_for_a_scheduler_runs_with_it():
    luthier = pytest.importorskip("optimizers.luthier", exc_type=ImportError)
    space = [{"name": "x", "type": "float", "low": 0.0, "high": 1.0}]
    fidelity = {"name": "epoch", "type": "int", "low": 1, "high": 9, "continues": True}

    def scheduler(variant):
        run = luthier.Optimizer(space, [{"name": "v", "direction": "min"}], 0, 10, variant)
        run.start_fidelity(fidelity, 10)
        name, options = run.study.scheduler
        return name, options.get("mode")

    assert scheduler("dehb") == scheduler("dehb?population=5") == ("hyperband", "fresh")
    assert scheduler("bohb") == scheduler("priorband") == ("hyperband", "promote")
    assert scheduler("bohb?scheduler=asha") == ("asha", "stop")
    assert scheduler("tpe") == scheduler("auto") == ("asha", "promote")


def test_a_part_shows_its_own_samplers_and_peers():
    runs = dict.fromkeys(["luthier:tpe", "luthier:halton", "optuna:tpe", "random_search:uniform"])
    assert list(report.GRIDS["suite"].rows(runs)) == ["luthier:tpe", "optuna:tpe", "random_search:uniform"]
    assert list(report.GRIDS["others"].rows(runs)) == ["luthier:halton", "random_search:uniform"]
    several = dict.fromkeys(["luthier:bohb+fidelity", "luthier:forest+fidelity", "dehb:default+fidelity"])
    assert list(report.GRIDS["fidelity"].rows(several)) == ["luthier:bohb+fidelity", "dehb:default+fidelity"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class Optimizer(Base):\n    variants = ('a', 'b')", ("a", "b")),
        ("class Optimizer(Base):\n    conditions = False", ("default",)),
        ("import x\nFULL = {'a': x.y}\nclass Optimizer(Base):\n    variants = (*FULL,)", ()),
        ("ONE = {'a': 'A'}\nTWO = ['b']\nclass Optimizer(Base):\n    variants = (*ONE, *TWO)", ("a", "b")),
    ],
)
def test_variants_are_read_without_importing(source, expected):
    assert optimizers.variants_in(source) == expected


def test_what_is_recorded_is_defined():
    recorded = {traces.bare(name) for name in traces.recorded()}
    assert recorded <= set(optimizers.names())


def test_peers_without_runs_are_named():
    recorded = {("t", 0): traces.Slice("t", 0, [1.0], [1.0])}
    runs = {False: {"hyperopt:tpe": recorded, "luthier:tpe": recorded}, True: {"syne_tune:asha+fidelity": recorded}}
    defined = ["hyperopt:tpe", "hyperopt:random", "luthier:gp", "syne_tune:asha", "syne_tune:bore"]
    assert "Not recorded: hyperopt:random, syne_tune:bore." in report.provenance_section(runs, defined)


def test_what_is_lost_is_told_whichever_table_it_is_in():
    def row(grid, task, optimizer, regret):
        return {"grid": grid, "task": task, "optimizer": optimizer, "regret@100%": regret}

    rows = [row("core", "a", "luthier:auto", 0.3), row("core", "a", "smac:hpo", 0.1), row("core", "a", "optuna:tpe", 0.2)]
    rows += [row("fidelity", "b", "luthier:auto+fidelity", 0.3), row("fidelity", "b", "dehb:default+fidelity", 0.295)]
    rows += [row("core", "c", "luthier:auto", 0.0), row("core", "c", "luthier:gp", -1.0), row("core", "c", "optuna:tpe", 0.0)]
    text = report.losses_section(rows)
    assert "| core | a | smac:hpo | 0.100 | 0.300 |" in text and text.count("\n| ") == 2
    assert "1 more are lost by less, of 3 in all" in text


def test_families_have_the_mean_of_their_tasks():
    def row(task, optimizer, regret):
        return {"grid": "core", "task": task, "family": "nets", "optimizer": optimizer, "regret@100%": regret}

    rows = [row("a", "luthier:auto", 0.1), row("b", "luthier:auto", 0.3), row("a", "optuna:tpe", 0.0), row("b", "optuna:tpe", 0.5)]
    rows += [row("a", "smac:hpo", 0.2), row("b", "smac:hpo", 0.4), row("a", "luthier:gp", 0.0), row("b", "luthier:gp", 0.0)]
    assert report.families_section(rows).endswith("| core | nets | 2 | **0.2000** | optuna:tpe | 0.2500 |")


def test_plots_name_optimisers_without_their_setting(tmp_path):
    runs = {
        f"{name}+workers=8": {(task, 0): traces.Slice(task, 0, [3.0, regret], [1.0, 1.0]) for task in "ab"}
        for name, regret in (("luthier:auto", 1.0), ("optuna:tpe", 2.0), ("random_search:uniform", 2.5))
    }
    problem = types.SimpleNamespace(
        direction="min", best_known=0.0, random_median=10.0, noisy=False, objectives=[{"name": "v", "direction": "min"}], family="f"
    )
    report.plot(measure.compare(runs, ["a", "b"], [0], 2, {"a": problem, "b": problem}), tmp_path, "few")
    for kind in ("regret", "ranks"):
        text = (tmp_path / f"few-{kind}.svg").read_text()
        assert "luthier:auto" in text and "workers" not in text
