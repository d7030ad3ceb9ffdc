"""What a benchmark problem is. Problems know nothing of optimisers, seeds of runs, or traces."""

from dataclasses import dataclass, field


@dataclass
class Problem:
    """A task to tune. `evaluate` is the only thing an optimiser's loop calls.

    name           unique, for example "lcbench-167168-val_accuracy"
    family         problems of a family are alike; tests are made per family
    space          see `space.py`
    objectives     list of {"name", "direction": "min" | "max"}
    constraints    names of the values that must be <= 0
    fidelity       None, or {"name", "type": "int" | "float", "low", "high", "continues"}: `continues` says whether a run that
                   was stopped can go on (epochs), or starts again (size of the training set). `high` is full.
    best_known     best value of the objective, in its own direction (hypervolume where there are several)
    random_median  median of uniformly random points; with `best_known` the two ends of normalised regret
    noisy          the value told is a draw; results are judged by `truth`
    reference      several objectives: the point (as losses, smaller is better) that bounds hypervolume
    """

    name: str
    family: str
    space: list
    objectives: list
    constraints: list = field(default_factory=list)
    fidelity: dict | None = None
    best_known: float | None = None
    random_median: float | None = None
    noisy: bool = False
    reference: list | None = None

    def evaluate(self, params, budget=None, seed=0):
        """One trial of `params` (active parameters only).

        budget: how far to go on the fidelity's scale; None is full. seed: chooses the noise of noisy problems.
        Returns a dict:
            values       one number per objective, in its own direction; None if the trial failed
            seconds      how long the recorded or modelled run took, where that is known, else None: the loop then takes a minute
            curve        [(budget, value), ...] up to `budget` where the problem has curves (else absent)
            constraints  one number per constraint, <= 0 is feasible (else absent)
        """
        raise NotImplementedError

    def truth(self, params):
        """Noisy problems: the values that `params` are judged by, one per objective."""
        raise NotImplementedError

    @property
    def direction(self):
        """Of the first objective."""
        return self.objectives[0]["direction"]

    def loss(self, value):
        """`value` of the first objective turned so that smaller is better."""
        return value if self.direction == "min" else -value

    def normalised_regret(self, value):
        """(value − best) / (random_median − best), clipped to [0, 1]; None and NaN are 1."""
        if value is None or value != value:
            return 1.0
        best = self.best_known
        return min(max((value - best) / (self.random_median - best), 0.0), 1.0)
