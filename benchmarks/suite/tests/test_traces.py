"""Traces survive being written, killed, joined and packed; recording goes on where it stopped."""

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import runner
import traces
from optimizers.base import Optimizer as Base
from problems import load
from problems.base import Problem
from traces import Slice

RUN = Path(__file__).resolve().parents[1] / "run.py"


def test_a_slice_comes_back_with_four_digits_of_its_distance_to_the_best_or_seven_of_its_own(tmp_path):
    run = Slice("t", 3, [0.123456789, math.nan, 87.94883, 87.9488299], [0.012345, 123.4, 1.0, 7.89], [])
    traces.append("a:b", run, best_known=87.94883, folder=tmp_path)
    found = traces.read("a:b", tmp_path)["t", 3]
    for value, kept in zip(run.values, found.values):
        if math.isnan(value):
            assert math.isnan(kept)
        else:
            assert abs(kept - value) <= max(1e-4 * abs(value - 87.94883), 5e-7 * abs(value))
    assert found.cpu == pytest.approx(run.cpu, rel=0.05)


def test_packing_and_joining_keep_the_longest_of_each_slice(tmp_path):
    traces.append("a", Slice("t", 0, [1.0, 2.0], [1, 1]), folder=tmp_path)
    traces.append("a", Slice("u", 0, [5.0], [1]), folder=tmp_path)
    traces.pack("a", tmp_path)
    traces.append("a", Slice("t", 0, [1.0], [1]), folder=tmp_path)
    traces.append("a", Slice("u", 0, [5.0, 4.0, 3.0], [1, 1, 1]), folder=tmp_path)
    found = traces.read("a", tmp_path)
    assert found["t", 0].values == [1.0, 2.0]
    assert found["u", 0].values == [5.0, 4.0, 3.0]
    traces.pack("a", tmp_path)
    assert traces.read("a", tmp_path) == found
    assert not traces.path("a", tmp_path).exists()


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    traces.append("a", Slice("t", 0, [1.0], [1]), folder=tmp_path)
    with open(traces.path("a", tmp_path), "a") as file:
        file.write("t,1,3,1.0 2.")
    assert list(traces.read("a", tmp_path)) == [("t", 0)]


def record(folder, seeds):
    command = [sys.executable, RUN, "record", "random_search", "--tasks", "hpobench_kc1,pool-a6a", "--seeds", seeds, "--trials", "5", "--folder", folder]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_recording_again_runs_only_what_is_missing(tmp_path):
    assert record(tmp_path, "0-1").count("5 trials") == 4
    before = traces.read("random_search:uniform", tmp_path)
    assert record(tmp_path, "0-2").count("5 trials") == 2
    after = traces.read("random_search:uniform", tmp_path)
    assert len(after) == 6 and all(after[key] == before[key] for key in before)


def test_several_fidelities_need_a_problem_that_has_them():
    kind = SimpleNamespace(fidelity=True, constraints=False, objectives=1, several=False)
    assert runner.missing(kind, load("hpobench_kc1"), True, 1) == "several fidelities"
    assert runner.missing(kind, load("lcbench-167168-val_accuracy"), True, 1) is None
    assert runner.missing(kind, load("hpobench_kc1"), False, 1) is None
    assert runner.missing(kind, load("hpobench_kc1"), False, 2) == "several trials at once"


class Counting(Base):
    """Asks for its own count, and writes down what it is told of which."""

    several = True

    def __init__(self, *_):
        self.count, self.told = 0, []

    def ask(self):
        self.asked = self.count = self.count + 1
        return {"x": self.count / 10.0}

    def tell(self, params, values, constraints=()):
        self.told.append((self.asked, params["x"], values, self.count))


def counted(monkeypatch, **more):
    run = Counting()
    monkeypatch.setattr(runner.optimizers, "find", lambda name: (Counting, "default"))
    monkeypatch.setattr(runner.optimizers, "factory", lambda name: lambda *_: run)
    problem = Problem(name="line", family="lines", space=[{"name": "x", "type": "float", "low": 0.0, "high": 0.45}],
                      objectives=[{"name": "loss", "direction": "min"}])
    problem.evaluate = lambda params, budget=None, seed=0: {"values": [params["x"]], "seconds": None}
    monkeypatch.setattr(runner, "load", lambda name: problem)
    return run, runner.run_slice("counting", "line", 0, 6, **more)


def test_trials_that_run_at_once_end_in_the_order_in_which_they_began(monkeypatch):
    run, kept = counted(monkeypatch, workers=3)
    assert [(asked, count) for asked, _, _, count in run.told] == [(1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (6, 6)]
    assert kept.values[:4] == [0.1, 0.2, 0.3, 0.4] and kept.trials == 6


def test_a_point_outside_the_space_is_a_failed_trial(monkeypatch):
    run, kept = counted(monkeypatch)
    assert [values for _, _, values, _ in run.told] == [[0.1], [0.2], [0.3], [0.4], None, None]
    assert all(math.isnan(value) for value in kept.values[4:])
    with pytest.raises(ValueError, match="x: 0.5 is outside 0.0 … 0.45"):
        counted(monkeypatch, strict=True)


def test_traces_of_another_version_are_not_mixed_in(tmp_path):
    traces.note_version("a", "a 1.0", "2026-01-01", tmp_path)
    traces.note_version("a", "a 1.0", "2026-01-02", tmp_path)
    assert traces.versions(tmp_path)["a"] == {"version": "a 1.0", "first": "2026-01-01", "last": "2026-01-02"}
    with pytest.raises(SystemExit, match="a 1.0"):
        traces.note_version("a", "a 2.0", "2026-01-03", tmp_path)


def test_names_with_options_are_file_names(tmp_path):
    traces.append("luthier:tpe?gamma=0.1&x=1", Slice("t", 0, [1.0], [1]), folder=tmp_path)
    assert traces.recorded(tmp_path) == ["luthier:tpe?gamma=0.1&x=1"]


def test_a_setting_stands_at_the_end_of_a_name():
    assert (traces.setting(), traces.setting(True), traces.setting(workers=8)) == ("", "+fidelity", "+workers=8")
    for name in ("optuna:tpe", "luthier:gp?cost=1e+3"):
        for setting in ("", "+fidelity", "+workers=8"):
            assert (traces.bare(name + setting), traces.setting_of(name + setting)) == (name, setting)
