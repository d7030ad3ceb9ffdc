"""The chance that a study gains more, as `luthier_core::convergence` reckons it, written a second time: to fit its coefficients and to check
its arithmetic. It reads no files.

A curve is a list of losses, one per finished trial, `nan` where a trial has none (failed, pruned, not feasible). With several objectives a
trial's loss is the negative hypervolume of all up to it."""

import math
from statistics import median

# ln Λ = Σ COEFFICIENT · feature, the first of which is always 1; chance = 1 − exp(−Λ).
ONE = {"one": -0.517, "time": 0.78, "gains": 0.728, "size": -0.119, "share": -0.322, "finished": -0.348}
# Of several objectives, whose losses are negative hypervolumes after each trial.
SEVERAL = {"one": 1.865, "time": 0.843, "gains": 0.71, "size": -0.165, "share": -0.278, "finished": -0.637}
# Values by which a typical early trial is known, and how few will do.
FIRST = 20
LEAST = 5
# The smallest share of the progress that the model tells from any gain at all.
LEAST_SHARE = 0.001
# Points of the integral of the regret left, between the least share and all of the progress.
GRID = 25
# How much longer a study goes on of which the regret left is told: ten times as long in all.
HORIZON = 9


class Course:
    """What the model knows of a curve: how many trials, the typical early loss, and when the best loss changed to what."""

    def __init__(self, losses):
        self.finished, self.first, self.gains = 0, [], []
        for loss in losses:
            self.add(loss)

    def add(self, loss):
        self.finished += 1
        if not math.isfinite(loss):
            return
        if len(self.first) < FIRST:
            self.first.append(loss)
        if not self.gains or loss < self.gains[-1][1]:
            self.gains.append((self.finished, loss))

    @property
    def best(self):
        return self.gains[-1][1]

    @property
    def progress(self):
        """By how much the best is better than the median of the first values; None before there are enough."""
        if len(self.first) < LEAST:
            return None
        return max(median(self.first) - self.best, 0.0)

    def best_after(self, trials):
        """The best loss after so many trials; the typical early loss before the first."""
        before = [loss for at, loss in self.gains if at <= trials]
        return before[-1] if before else median(self.first)

    def stalled(self, epsilon):
        """Trials since the best was worse than now by more than epsilon."""
        return self.finished - next(at for at, loss in self.gains if loss - self.best <= epsilon)

    def gains_over(self, epsilon):
        """How often the best has gained more than epsilon since it was last counted: in the latter half of the trials, and in the quarter before
        it by a weight that rises from 0 to 1, so that nothing drops out at once."""
        since = self.finished // 4
        reference, count = self.best_after(since), 0.0
        for at, loss in self.gains:
            if at > since and reference - loss > epsilon:
                reference = loss
                count += min(max(2.0 + math.log2(at / self.finished), 0.0), 1.0)
        return count


def features(course, trials, epsilon):
    """{name: number} for the chance to gain over `epsilon` in `trials` more; None before there is enough to go by. Where nothing has been
    gained yet, any gain is as large as all progress so far."""
    progress = course.progress
    if progress is None:
        return None
    epsilon = max(epsilon, LEAST_SHARE * progress)
    half = course.finished // 2
    gained = min(max(course.best_after(half) - course.best, 0.0), progress)
    return {
        "one": 1.0,
        "time": math.log(math.log1p(trials / course.finished)),
        "gains": math.log(course.gains_over(epsilon) + 0.5),
        "size": math.log1p(gained / epsilon) if gained > 0.0 else 0.0,
        "share": math.log(epsilon / progress) if progress > 0.0 else 0.0,
        "finished": math.log(course.finished),
    }


def chance(course, trials, epsilon, coefficients=ONE):
    """The chance in [0, 1] that the best gains over `epsilon` in `trials` more; None before there is enough to go by."""
    known = features(course, trials, epsilon)
    if known is None:
        return None
    rate = sum(coefficients[name] * value for name, value in known.items())
    return -math.expm1(-math.exp(min(rate, 50.0)))


def regret_left(course, coefficients=ONE):
    """The gain to be expected if the study went on to ten times its trials."""
    progress = course.progress
    if progress is None:
        return None
    grid = [progress * LEAST_SHARE ** (1.0 - k / (GRID - 1)) for k in range(GRID)]
    chances = [chance(course, HORIZON * course.finished, x, coefficients) for x in grid]
    total = grid[0] * chances[0]
    for (x0, p0), (x1, p1) in zip(zip(grid, chances), zip(grid[1:], chances[1:])):
        total += (x1 - x0) * (p0 + p1) / 2
    return total
