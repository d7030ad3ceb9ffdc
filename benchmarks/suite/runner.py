"""The loop: one optimiser on one problem with one seed, measured. It writes nothing.

Scores. With one objective and no noise the trace holds each trial's value. Otherwise a value would not say how good the result is, and
the trace holds the score of the result so far instead:
* noisy: the true value of the trial that looked best so far
* several objectives: the hypervolume of all feasible points so far
* several fidelities: the full-fidelity value of the best trial among those evaluated furthest so far

A point outside the space is a failed trial; on several fidelities it is an error.
"""

import time
from collections import deque

import optimizers
import traces
from problems import load
from problems.space import check, only_active


# What a trial is said to have taken where nothing is recorded.
NOMINAL_SECONDS = 60.0


def run_slice(optimizer, task, seed, trials, limit=None, fidelity=False, workers=1, strict=False):
    """One run as a `traces.Slice`; fewer trials if `limit` seconds of wall time have passed. With `fidelity`, `trials` is the budget in
    full evaluations. `workers`: trials that run at once, of which the oldest ends first. `strict`: a point outside the space is an error."""
    problem = load(task)
    kind, _ = optimizers.find(optimizer)
    wanting = missing(kind, problem, fidelity, workers)
    if wanting:
        raise Unsupported(f"{optimizer} on {task}: not for {wanting}")
    clock = Clock()
    space = problem.space if kind.conditions else flat(problem.space)
    run = clock.measure(optimizers.factory(optimizer), space, problem.objectives, seed, trials)
    if problem.constraints:
        clock.measure(run.expect_constraints, len(problem.constraints))
    if fidelity:
        return run_fidelity(run, problem, task, seed, trials, clock, limit)
    return run_full(run, problem, task, seed, trials, clock, limit, workers, strict)


class Unsupported(Exception):
    """The optimiser cannot do what the problem needs, or the problem not what is asked of it; not a failure."""


def missing(kind, problem, fidelity, workers):
    if workers > 1 and not kind.several:
        return "several trials at once"
    if fidelity and not (kind.fidelity and problem.fidelity):
        return "several fidelities"
    if problem.constraints and not kind.constraints:
        return "constraints"
    if kind.objectives is not None and len(problem.objectives) > kind.objectives:
        return "several objectives"
    return None


def flat(space):
    """The space for optimisers that know no conditions: everything is always active."""
    return [{key: value for key, value in parameter.items() if key != "condition"} for parameter in space]


def run_full(run, problem, task, seed, trials, clock, limit, workers, strict):
    kept = traces.Slice(task, seed, [], [])
    score = Score(problem)
    end = time.monotonic() + limit if limit else None
    running = deque()
    while len(kept.values) < trials:
        if end and kept.values and time.monotonic() > end:
            break
        while len(running) < workers and len(kept.values) + len(running) < trials:
            params = clock.measure(run.ask)
            running.append((params, run.asked))
        params, run.asked = running.popleft()
        active, result = evaluated(problem, params, noise_seed(seed, len(kept.values)), strict)
        run.seconds = result["seconds"] or NOMINAL_SECONDS
        clock.measure(run.tell, params, result["values"], result.get("constraints", ()))
        kept.values.append(score.after(active, result))
        kept.cpu.append(clock.take(run))
    return kept


def evaluated(problem, params, seed, strict):
    """The point without what is not active, and what came of it."""
    try:
        active = only_active(problem.space, params)
        check(problem.space, active)
    except (KeyError, ValueError):
        if strict:
            raise
        return params, {"values": None, "seconds": None}
    return active, problem.evaluate(active, seed=seed)


def run_fidelity(run, problem, task, seed, budget_total, clock, limit):
    kept = traces.Slice(task, seed, [], [], [])
    fidelity, reached = problem.fidelity, {}
    clock.measure(run.start_fidelity, fidelity, budget_total)
    end = time.monotonic() + limit if limit else None
    spent, furthest, best, score = 0.0, -1.0, None, float("nan")
    while spent < budget_total - 1e-9 and not (end and time.monotonic() > end):
        key, params, budget = clock.measure(run.ask_fidelity)
        budget = min(max(budget, fidelity["low"]), fidelity["high"])
        active = only_active(problem.space, params)
        check(problem.space, active)
        before = reached.get(key, 0) if fidelity["continues"] else 0
        reached[key] = max(budget, reached.get(key, 0))
        cost = max(budget - before, 0) / fidelity["high"]
        result = problem.evaluate(active, budget=budget, seed=noise_seed(seed, len(reached)))
        value, run.seconds = result["values"], (result["seconds"] or NOMINAL_SECONDS * budget / fidelity["high"])
        clock.measure(run.tell_fidelity, key, params, budget, value and value[0])
        if value is not None and (budget > furthest or (budget == furthest and problem.loss(value[0]) < best)):
            furthest, best = budget, problem.loss(value[0])
            score = problem.evaluate(active)["values"][0]
        spent += cost
        kept.values.append(score)
        kept.cpu.append(clock.take(run))
        kept.cost.append(cost)
    return kept


def noise_seed(seed, trial):
    """The same trial of the same run draws the same noise for every optimiser."""
    return (seed * 1_000_003 + trial) * 2_654_435_761 % (1 << 31)


class Score:
    """What the trace says after each trial."""

    def __init__(self, problem):
        self.problem, self.best, self.truth = problem, None, float("nan")
        self.front = None
        if len(problem.objectives) > 1:
            from problems.hypervolume import Front

            self.front = Front(problem.reference)

    def after(self, params, result):
        values = result["values"]
        feasible = values is not None and all(c <= 0 for c in result.get("constraints", ()))
        if self.front is not None:
            signs = [1 if o["direction"] == "min" else -1 for o in self.problem.objectives]
            return self.front.add([s * v for s, v in zip(signs, values)]) if feasible else self.front.volume
        if not self.problem.noisy:
            return values[0] if feasible else float("nan")
        if feasible and (self.best is None or self.problem.loss(values[0]) < self.best):
            self.best, self.truth = self.problem.loss(values[0]), self.problem.truth(params)[0]
        return self.truth


class Clock:
    """CPU seconds of this process (all its threads), and of an optimiser's own process where it has one, since last taken."""

    def __init__(self):
        self.seconds, self.elsewhere = 0.0, 0.0

    def measure(self, function, *arguments):
        begin = time.process_time()
        try:
            return function(*arguments)
        finally:
            self.seconds += time.process_time() - begin

    def take(self, run):
        """Milliseconds; starts again at zero."""
        milliseconds = 1000.0 * (self.seconds + run.cpu_elsewhere - self.elsewhere)
        self.seconds, self.elsewhere = 0.0, run.cpu_elsewhere
        return milliseconds
