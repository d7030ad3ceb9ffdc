"""Asking, reporting and telling, in memory."""

import math

import pytest

import luthier

X = [luthier.Float("x", -5, 5)]


def run(study, objective):
    while (trial := study.ask()) is not None:
        trial.tell(objective(trial.params))
    return study


@pytest.mark.parametrize("sampler", [name for name, *_ in luthier.samplers()])
def test_every_sampler_is_asked_and_told(sampler, space, objective):
    if sampler == "grid":
        space = luthier.Space([luthier.Int("layers", 1, 5), luthier.Ordinal("lr", [0.001, 0.01, 0.1])])
    study = luthier.Study(space, sampler=sampler, trials=15, seed=7)
    if sampler == "manual":
        assert study.ask() is None and study.done is None
        study.enqueue({"layers": 2}, count=15)
    run(study, objective)
    assert study.done == "all 15 trials have been run"
    assert len(study) == 15
    assert {trial["state"] for trial in study.trials} == {"completed"}
    values = [trial["values"]["value"] for trial in study.trials]
    assert study.best_value == min(values)
    assert study.best == study.trials[values.index(min(values))]
    assert study.best_params == study.best["params"]


# A race compares folds, not steps; see test_a_race_stops_trials_after_some_folds.
@pytest.mark.parametrize("scheduler", [name for name, *_ in luthier.schedulers() if name != "race"])
def test_every_scheduler_judges_curves(scheduler):
    options = {"threshold": {"upper": 3.0}, "forecast": {"min_trials": 4, "chance": 0.21}}.get(scheduler, {})
    study = luthier.Study(X, sampler="random", scheduler=(scheduler, options), max_budget=9, trials=20)
    ends = set()
    while (trial := study.ask()) is not None:
        for step in range(trial.step + 1, (trial.budget or 9) + 1):
            if trial.report(step, trial["x"] ** 2 / step) != "continue":
                break
        ends.add(trial.tell())
    assert "completed" in ends
    assert ends <= {"completed", "pruned", "paused"}
    if scheduler not in ("run_all", "patience"):  # these curves never rise
        assert ends != {"completed"}


def test_a_race_stops_trials_after_some_folds():
    study = luthier.Study(X, sampler="random", scheduler="race", replicates={"folds": 4}, trials=12)
    folds = set()
    while (trial := study.ask()) is not None:
        folds.add(trial.fold)
        trial.tell(trial["x"] ** 2 + 0.1 * trial.fold)
    assert folds == {0, 1, 2, 3}
    assert {trial["state"] for trial in study.trials} == {"completed", "pruned"}
    assert abs(study.best_params["x"]) == min(abs(trial["params"]["x"]) for trial in study.trials)


def test_trials_tell_what_their_replicates_said():
    replicates = {"folds": 4, "confirm": 1}
    study = luthier.Study(X, sampler="random", scheduler="race", direction="maximize", replicates=replicates, trials=12)
    given = {}
    while (trial := study.ask()) is not None:
        value = -(trial["x"] ** 2) - 0.1 * trial.fold - 0.001 * (trial.seed % 7)
        given.setdefault(trial.number, {})[trial.replicate] = value
        trial.tell(value)
    for trial in study.trials:
        told = trial["replicates"]["value"]
        values = {row["replicate"]: row["value"] for row in told["values"] + told["measured_again"]}
        assert values == given[trial["number"]]
        assert told["estimate"]["replicates"] == len(told["values"])
        if trial["state"] == "completed":
            assert told["estimate"]["mean"] == pytest.approx(trial["values"]["value"])
            assert told["estimate"]["standard_error"] > 0.0
        else:  # stopped after some folds
            assert trial["values"] == {} and 1 <= len(told["values"]) < 4
    assert study.best == study.trial(study.best["number"])
    best = study.best["replicates"]["value"]
    assert [row["replicate"] for row in best["measured_again"]] == [4, 5, 6, 7]
    again = [row["value"] for row in best["measured_again"]]
    assert best["confirmed"]["replicates"] == 4
    assert best["confirmed"]["mean"] == pytest.approx(sum(again) / 4)
    once = luthier.Study(X, trials=1)
    once.ask().tell(1.0)
    assert once.best["replicates"] is None


def test_the_same_seed_asks_the_same(space, objective):
    def asked(seed):
        study = luthier.Study(space, sampler="tpe", trials=25, seed=seed)
        return [trial["params"] for trial in run(study, objective).trials]

    assert asked(1) == asked(1)
    assert asked(1) != asked(2)


def test_larger_is_better_if_you_say_so():
    study = luthier.Study(X, direction="maximize", metric="score", trials=10)
    run(study, lambda params: -(params["x"] ** 2))
    assert study.best_value == max(trial["values"]["score"] for trial in study.trials)


def test_batches_are_different_trials():
    study = luthier.Study(X, trials=5)
    batch = study.ask(n=3)
    assert [trial.number for trial in batch] == [0, 1, 2]
    assert len({trial["x"] for trial in batch}) == 3
    assert len(study.ask(8)) == 2
    assert study.ask(8) == [] and study.ask() is None
    assert study.done == "all 5 trials have been run"
    assert study.ask(0) == []


def test_several_objectives_and_their_front():
    study = luthier.Study(X, objectives={"near": "minimize", "far": "maximize"}, trials=40, sampler="random")
    run(study, lambda params: [abs(params["x"]), abs(params["x"] - 1)])
    front = study.pareto_front()

    def beats(a, b):
        return (a["near"] <= b["near"] and a["far"] >= b["far"]) and a != b

    values = [trial["values"] for trial in study.trials]
    assert 1 <= len(front) < 40
    for trial in front:
        assert not any(beats(other, trial["values"]) for other in values)
    for row in values:
        assert row in [trial["values"] for trial in front] or any(beats(trial["values"], row) for trial in front)
    with pytest.raises(TypeError, match=r"values must be a list of 2 numbers \(near, far\), or a dict of numbers"):
        study.tell(0, 1.0)
    with pytest.raises(ValueError, match=r"not 3 values$"):
        study.tell(0, [1.0, 2.0, 3.0])


def test_constraints_decide_what_is_best():
    study = luthier.Study(X, objectives=["loss"], constraints=["over"], trials=30, sampler="random")
    while (trial := study.ask()) is not None:
        trial.tell({"loss": trial["x"], "over": 1.0 - trial["x"]})
    assert study.best_value >= 1.0
    assert study.best["violation"] == 0.0
    assert all(trial["violation"] == pytest.approx(max(0.0, 1.0 - trial["params"]["x"])) for trial in study.trials)
    assert len(study.pareto_front()) == 1


def test_what_is_not_finite_fails_the_trial():
    study = luthier.Study(X, metric="loss", trials=4)
    trials = study.ask(4)
    assert trials[0].tell(math.nan) == "failed"
    assert trials[1].tell({"loss": math.inf}) == "failed"
    assert trials[2].report(1, -math.inf) == "stop"
    assert trials[2].tell(1.0) == "failed"
    assert trials[3].tell({"loss": 1.0, "other": math.nan}) == "completed"
    assert [trial["failure"] for trial in study.trials] == ["loss was nan", "loss was inf", "loss was -inf", None]
    assert study.best["number"] == 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"message": "no convergence"}, "no convergence"),
        ({}, "it failed"),
        ({"kind": "crash", "code": 3}, "exit code 3"),
        ({"kind": "crash", "code": -9}, "killed by signal 9"),
        ({"kind": "timeout", "limit": 60}, "still running after 60 s"),
        ({"kind": "memory", "limit": 2e9}, "used more than 2000 MB of memory"),
        ({"kind": "nonfinite"}, "value was nan"),
        ({"kind": "not_started", "message": "no device"}, "could not start: no device"),
    ],
)
def test_failures_have_kinds(arguments, text):
    study = luthier.Study(X)
    trial = study.ask()
    assert trial.fail(detail="last lines", **arguments) == "failed"
    assert (study.trials[0]["failure"], study.trials[0]["detail"]) == (text, "last lines")


def test_a_failure_that_says_too_little_is_refused():
    study = luthier.Study(X)
    trial = study.ask()
    with pytest.raises(ValueError, match=r'^kind="timeout" needs limit, in seconds$'):
        trial.fail(kind="timeout")
    with pytest.raises(ValueError, match=r'^there is no kind "oom"; there are error, crash, timeout, memory'):
        trial.fail(kind="oom")
    assert trial.tell(1.0) == "completed"


def test_curves_stand_for_trials_without_final_values():
    study = luthier.Study(X, curve="best", scheduler="run_all")
    trial = study.ask()
    for step, value in enumerate([3.0, 1.0, 2.0], start=1):
        assert trial.report(step, value, seconds=0.5) == "continue"
    assert trial.tell(seconds=0.25) == "completed"
    record = study.trial(0)
    assert record["values"] == {"value": 1.0}
    assert record["curve"] == [(1, {"value": 3.0}), (2, {"value": 1.0}), (3, {"value": 2.0})]
    assert (record["step"], record["seconds"]) == (3, 1.75)


def test_a_trial_told_to_pause_goes_on_from_its_step():
    study = luthier.Study(
        X, scheduler=("successive_halving", {"bracket_trials": 9, "eta": 3, "min_budget": 1}), max_budget=9, trials=9, sampler="random"
    )
    steps = {}
    while (trial := study.ask()) is not None:
        assert trial.step == steps.get(trial.number, 0)
        for step in range(trial.step + 1, trial.budget + 1):
            decision = trial.report(step, abs(trial["x"]) + 1 / step)
            steps[trial.number] = step
            if decision != "continue":
                break
        else:
            decision = None
        if decision is None:
            assert trial.tell() == "completed"
        # Nothing more is said about a trial that pauses: it is paused when the program lets go of it.
    assert max(steps.values()) == 9 and len(steps) >= 9
    assert study.best["step"] == 9


def test_replicates_are_asked_one_by_one():
    study = luthier.Study(X, replicates=3, trials=2, sampler="random")
    asked = study.ask(6)
    assert [(trial.number, trial.replicate) for trial in asked] == [(n, k) for n in range(2) for k in range(3)]
    assert asked[0].params == asked[1].params
    for trial in asked[:3]:
        trial.tell(float(trial.replicate))
    assert study.trials[0]["values"] == {"value": 1.0}
    study.tell(1, 5.0, replicate=2)
    assert study.trials[1]["state"] == "running"


def test_the_queue_comes_first():
    study = luthier.Study(X, trials=4)
    study.enqueue({"x": 1.5})
    study.enqueue(within={"x": (2, 3)}, count=2)
    trials = study.ask(4)
    assert trials[0]["x"] == 1.5
    assert 2 <= trials[1]["x"] <= 3 and 2 <= trials[2]["x"] <= 3
    assert [study.trial(k)["origin"] for k in range(4)] == ["enqueued", "enqueued", "enqueued", "sampler"]
    with pytest.raises(luthier.SpaceError, match='"x": 9 is '):
        study.enqueue({"x": 9})
    with pytest.raises(TypeError, match=r'^within, "x" must be a pair \(low, high\), not int$'):
        study.enqueue(within={"x": 3})


def test_cancelled_trials_keep_their_curves():
    study = luthier.Study(X, scheduler="run_all")
    trial = study.ask()
    trial.report(1, 2.0)
    assert trial.cancel() == "cancelled"
    assert study.trials[0]["curve"] == [(1, {"value": 2.0})]
    assert study.best is None and study.best_params is None and study.best_value is None


def test_seconds_are_measured_unless_told():
    study = luthier.Study(X)
    first, second = study.ask(2)
    first.tell(1.0)
    second.tell(1.0, seconds=12.5)
    measured, told = (trial["seconds"] for trial in study.trials)
    assert measured > 0 and told == 12.5
    with pytest.raises(luthier.StudyError, match=r"^seconds of work must be a finite number of at least 0, not -1$"):
        study.ask().tell(1.0, seconds=-1)


def test_a_mistyped_metric_costs_no_trial():
    study = luthier.Study(X, metric="loss")
    trial = study.ask()
    with pytest.raises(luthier.StudyError) as raised:
        trial.tell({"lss": 1.0})
    assert str(raised.value) == 'trial 0 has no value for "loss": none was reported, and lss was told'
    assert trial.tell({"loss": 1.0}) == "completed"


def test_mistakes_are_named():
    study = luthier.Study(X)
    trial = study.ask()
    cases = [
        (lambda: study.tell(3, 1.0), luthier.StudyError, "there is no trial 3 in this study"),
        (lambda: trial.tell("good"), TypeError, "values must be a number, or a dict of numbers by metric, not str"),
        (lambda: trial.tell({"value": None}), TypeError, 'values, "value" must be a number, not None'),
        (lambda: trial.tell({1: 2.0}), TypeError, "a name in values must be a text, not int"),
        (lambda: study.tell("0", 1.0), TypeError, "trial must be a luthier.Trial or its number, not str"),
        (lambda: trial.report(1, []), ValueError, None),
        (lambda: trial["y"], KeyError, "'y'"),
        (lambda: study.note("k", {1, 2}), TypeError, None),
    ]
    for act, error, text in cases:
        with pytest.raises(error) as raised:
            act()
        assert text is None or str(raised.value) == text
    trial.tell(1.0)
    with pytest.raises(luthier.StudyError) as raised:
        trial.tell(1.0)
    assert str(raised.value) == "trial 0 is completed, not running; ask() hands one out"
    with pytest.raises(luthier.StudyError, match="^trial 0 belongs to another study$"):
        luthier.Study(X).tell(trial, 1.0)


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"sampler": "bayes"}, luthier.PolicyError, 'there is no sampler "bayes"; there are '),
        ({"sampler": ("tpe", {"gama": 1})}, luthier.PolicyError, 'sampler "tpe": unknown field `gama`, expected one of '),
        ({"sampler": 3}, TypeError, "sampler must be a name, or (name, {option: value}), not int"),
        ({"scheduler": "asha"}, luthier.PolicyError, 'scheduler "asha": '),
        ({"direction": "down"}, ValueError, 'direction must be "minimize" or "maximize", not "down"'),
        ({"objectives": ["a", "a"]}, luthier.StudyError, 'the metric "a" is listed twice'),
        ({"objectives": []}, luthier.StudyError, "a study needs at least one metric to optimise"),
        ({"objectives": ["a"], "metric": "b"}, TypeError, "give objectives, or metric and direction, not both"),
        ({"metric": "step"}, luthier.StudyError, '"step" cannot be a metric\'s name'),
        ({"replicates": 0}, luthier.StudyError, "replicates must be at least 1"),
        ({"max_budget": 0}, luthier.StudyError, "max_budget must be at least 1"),
        ({"curve": "mean"}, ValueError, 'curve must be "last" or "best", not "mean"'),
        ({"limits": {"trails": 3}}, ValueError, "limits: unknown field `trails`, expected one of "),
        ({"limits": {"trials": 3}, "trials": 4}, ValueError, "trials is given twice; keep one of "),
        ({"lease": 5}, ValueError, "lease is for a study in a file; give storage, or leave it out"),
    ],
)
def test_wrong_keywords_are_named(keywords, error, text):
    with pytest.raises(error) as raised:
        luthier.Study(X, **keywords)
    assert str(raised.value).startswith(text)


def test_limits_end_the_study():
    study = luthier.Study(X, limits={"failures": 2})
    for trial in study.ask(2):
        trial.fail("broken")
    assert study.ask() is None
    assert study.done == "the last 2 trials failed"
    study = luthier.Study(X, limits={"target": 0.5, "trials": 9})
    study.ask().tell(0.25)
    assert study.ask() is None and study.done == "the target 0.5 is reached"


def test_a_finite_space_is_searched_once():
    study = run(luthier.Study([luthier.Int("n", 1, 5)]), lambda params: params["n"])
    assert sorted(trial["params"]["n"] for trial in study.trials) == [1, 2, 3, 4, 5]
    assert study.done == "every point of the space has been tried"


def test_waiting_is_not_the_end():
    study = luthier.Study(X, sampler="manual")
    assert study.ask() is None
    assert study.done is None
    study.enqueue({"x": 0})
    assert study.ask()["x"] == 0


def test_studies_and_trials_show_themselves():
    study = luthier.Study(X, sampler="random", scheduler="run_all", name="bowl")
    assert study and len(study) == 0 and study.name == "bowl" and study.storage is None
    assert repr(study) == 'Study("bowl", random + run_all, 0 trials)'
    study.enqueue({"x": 0.5})
    trial = study.ask()
    assert repr(trial) == "Trial(0, {'x': 0.5})"
    assert (trial.number, trial.replicate, trial.budget, trial.step, trial.parent, trial.attempt) == (0, 0, None, 0, None, 1)
    trial.tell(2.5)
    assert repr(study) == 'Study("bowl", random + run_all, 1 trials, best 2.5 in trial 0)'
    assert study.space == luthier.Space(X)
    assert study.sampler == ("random", {})
    name, options = luthier.Study(X, sampler={"name": "tpe", "n_startup": 5}).sampler
    assert name == "tpe" and options["n_startup"] == 5 and len(options) > 1


def test_registries_document_every_option():
    for entries in (luthier.samplers(), luthier.schedulers()):
        assert len(entries) >= 5
        for name, summary, options in entries:
            assert name and summary
            assert all(doc for _, doc in options.values())
    tpe = next(options for name, _, options in luthier.samplers() if name == "tpe")
    assert tpe["n_startup"][0] == 10


def test_notes_are_kept():
    study = luthier.Study(X)
    trial = study.ask()
    study.note("machine", {"gpu": [0, 1], "name": "a"})
    study.note("seen", True, trial=trial)
    with pytest.raises(luthier.StudyError, match="^there is no trial 9 in this study$"):
        study.note("seen", True, trial=9)


def test_advice_tells_what_more_trials_might_gain():
    study = luthier.Study(X, sampler="random", trials=30)
    assert study.advice() is None
    run(study, lambda params: params["x"] ** 2)
    advice = study.advice()
    assert set(advice) == {"stopped", "trials", "epsilon", "noise", "progress", "chance", "regret", "stalled", "text"}
    assert (advice["stopped"], advice["trials"], advice["noise"]) == (30, 50, None)
    assert 0 < advice["chance"] < 1 and advice["text"].startswith("another 50 trials: ")
    assert study.advice(5)["chance"] < advice["chance"] < study.advice(500)["chance"]
    assert study.advice(epsilon=1e9)["chance"] < advice["chance"]
    with pytest.raises(ValueError, match="trials and patience"):
        study.advice(0)


def test_a_study_ends_when_it_has_converged():
    study = luthier.Study(X, sampler="random", limits={"converged": True}, trials=5000)
    run(study, lambda params: params["x"] ** 2)
    assert study.done.startswith("another 50 trials had a chance of")
    assert 20 <= len(study) < 2000
    assert study.advice()["chance"] < 0.1
    with pytest.raises(luthier.LuthierError, match="chance of converged"):
        luthier.Study(X, limits={"converged": {"chance": 2}})
