"""Writes shade.json: what SHADE reaches, for the test of Luthier's differential evolution.

    pip install niapy==2.7.1 && python shade.py

SHADE is written down from its paper: R. Tanabe and A. Fukunaga, "Success-history based parameter adaptation for
differential evolution", CEC 2013. First it is held against NiaPy's: that one keeps the Lehmer mean of crossover
rates too, as L-SHADE does (2014, without its smaller and smaller populations), so `lehmer_rates` makes this program
do the same.

Luthier's sampler differs from the paper in three ways, each of which is an argument here:

* `first_rate`: the memory begins at the crossover rate 0.9, not 0.5.
* `oldest_out`: what is too much for the archive is the oldest, not any of it.
* `at_once`: with one trial at a time, a member is replaced before the next one moves. With a generation at a time
  it is as in the paper.

Each case has the mean over RUNS runs of log10 of the smallest loss after so many trials, and the standard error of
that mean.
"""

import json
import math
import pathlib
import random
import statistics

RUNS = 1_000
RUNS_OF_NIAPY = 100

MEMBERS = 12
MEMORIES = 6
AFTER = [12, 60, 150, 300, 600]

OPTIMUM = (1.3, -2.1, 0.4, 3.0, -0.7)


def offsets(point):
    """From the optimum, of a point of the unit cube that stands for [-5, 5] in each direction."""
    return [10 * x - 5 - c for x, c in zip(point, OPTIMUM)]


def sphere(point):
    return sum(y * y for y in offsets(point))


def rastrigin(point):
    return sum(10 + y * y - 10 * math.cos(2 * math.pi * y) for y in offsets(point))


def other_than(count, taken, draw):
    while (k := draw.randrange(count)) in taken:
        pass
    return k


def shade(loss, seed, at_once=MEMBERS, first_rate=0.5, oldest_out=False, lehmer_rates=False):
    """The smallest loss so far after each trial."""
    draw = random.Random(seed)
    members = [[draw.random() for _ in OPTIMUM] for _ in range(MEMBERS)]
    losses = [loss(member) for member in members]
    scales, rates, oldest = [0.5] * MEMORIES, [first_rate] * MEMORIES, 0
    archive, seen, successes = [], list(losses), []

    def child(i):
        """Equations 2 to 6; p = 2 / MEMBERS, because p is from there to 0.2 and 0.2 of MEMBERS is not 3."""
        k = draw.randrange(MEMORIES)
        rate = min(max(draw.gauss(rates[k], 0.1), 0.0), 1.0)
        while (scale := scales[k] + 0.1 * math.tan(math.pi * (draw.random() - 0.5))) <= 0:
            pass
        scale = min(scale, 1.0)
        best = members[draw.choice(sorted(range(MEMBERS), key=losses.__getitem__)[:2])]
        everyone = members + archive
        one = other_than(MEMBERS, (i,), draw)
        other = everyone[other_than(len(everyone), (i, one), draw)]
        forced = draw.randrange(len(OPTIMUM))
        point = list(members[i])
        for j, x in enumerate(members[i]):
            if j == forced or draw.random() < rate:
                moved = x + scale * (best[j] - x) + scale * (members[one][j] - other[j])
                point[j] = x / 2 if moved < 0 else (x + 1) / 2 if moved > 1 else moved
        return point, scale, rate

    def shrink():
        while len(archive) > MEMBERS:
            archive.pop(0 if oldest_out else draw.randrange(len(archive)))

    def meet(i, point, scale, rate):
        found = loss(point)
        seen.append(found)
        if found < losses[i]:
            successes.append((losses[i] - found, scale, rate))
            archive.append(members[i])
        if found <= losses[i]:
            members[i], losses[i] = point, found

    while len(seen) < AFTER[-1]:
        for first in range(0, MEMBERS, at_once):
            those = range(first, first + at_once)
            for i, made in [(i, child(i)) for i in those]:
                meet(i, *made)
            shrink()
        if successes:
            # Equations 7 to 9. The weights' sum cancels out of Lehmer's mean.
            mean = lambda k, power: sum(success[0] * success[k] ** power for success in successes)
            scales[oldest] = mean(1, 2) / mean(1, 1)
            rates[oldest] = mean(2, 2) / mean(2, 1) if lehmer_rates and mean(2, 1) else mean(2, 1) / mean(2, 0)
            oldest = (oldest + 1) % MEMORIES
            successes.clear()
    return course(seen)


def course(losses):
    return [min(losses[:k]) for k in range(1, AFTER[-1] + 1)]


def niapy(loss, seed):
    from niapy.algorithms.modified import SuccessHistoryAdaptiveDifferentialEvolution
    from niapy.problems import Problem
    from niapy.task import Task

    class Recorded(Problem):
        def __init__(self):
            super().__init__(len(OPTIMUM), 0.0, 1.0)
            self.losses = []

        def _evaluate(self, x):
            self.losses.append(loss(x.tolist()))
            return self.losses[-1]

    problem = Recorded()
    sampler = SuccessHistoryAdaptiveDifferentialEvolution(
        population_size=MEMBERS, extern_arc_rate=1.0, pbest_factor=0.2, hist_mem_size=MEMORIES, seed=seed
    )
    sampler.run(Task(problem=problem, max_evals=AFTER[-1]))
    return course(problem.losses)


def means(courses):
    rows = []
    for trials in AFTER:
        reached = [math.log10(losses[trials - 1]) for losses in courses]
        error = statistics.stdev(reached) / math.sqrt(len(reached))
        rows.append([trials, statistics.fmean(reached), error])
    return rows


def check_against_niapy(loss):
    theirs = means([niapy(loss, seed) for seed in range(RUNS_OF_NIAPY)])
    own = means([shade(loss, seed, lehmer_rates=True) for seed in range(RUNS_OF_NIAPY * 4)])
    for (trials, a, error_a), (_, b, error_b) in zip(theirs, own):
        off = (b - a) / math.hypot(error_a, error_b)
        print(f"{loss.__name__}, {trials} trials: {b:.3f}, NiaPy {a:.3f}, {off:+.1f} standard errors apart")
        assert abs(off) < 4


if __name__ == "__main__":
    cases = []
    for loss in (sphere, rastrigin):
        check_against_niapy(loss)
        for at_once in (MEMBERS, 1):
            runs = (shade(loss, seed, at_once, first_rate=0.9, oldest_out=True) for seed in range(RUNS))
            cases.append({"loss": loss.__name__, "at_once": at_once, "means": means(list(runs))})
    found = {"runs": RUNS, "members": MEMBERS, "cases": cases}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found, indent=1) + "\n")
