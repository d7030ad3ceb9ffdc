"""The interface between the benchmark's loop and an optimiser. It is all that an optimiser's file has to know."""

import os
from pathlib import Path


# Where `benchmarks/peers/install.sh` has put what it makes.
PEERS = Path(os.environ.get("LUTHIER_PEERS") or Path(__file__).resolve().parents[3] / "target" / "peers")


class Optimizer:
    """One run of an optimiser on one problem.

    A file `optimizers/NAME.py` defines a class called `Optimizer` derived from this one, and is then found under NAME;
    its variants as NAME:VARIANT. Import the optimiser's own package inside the methods, or at the top of the file: a file that
    cannot be imported is listed as not installed.
    """

    # Settings that are worth a row of their own; the first is what NAME alone means. Defaults of the package, unless the variant's
    # docs say otherwise.
    variants = ("default",)

    # What it can do, beyond one objective on a flat space. A problem that needs more is not run with this optimiser.
    conditions = True       # False: the loop hands over a space without conditions and drops inactive values
    constraints = False     # `tell` gets the values of constraints
    objectives = 1          # how many at most; None is any number
    fidelity = False        # has `ask_fidelity` and `tell_fidelity`
    several = False         # may be asked again before it was told; see `asked`

    # CPU seconds spent for this run in another process so far, where an optimiser has one.
    cpu_elsewhere = 0.0
    # Set by the loop before each `tell`: what the trial took, as recorded or modelled, in seconds.
    seconds = None
    # Of an optimiser that has `several`: what `tell` needs to know of a point. `ask` sets it, and the loop sets it back before each `tell`.
    asked = None

    def __init__(self, space, objectives, seed, budget_trials, variant):
        """space: see `problems/space.py`. objectives: list of {"name", "direction"}. seed: whole number >= 0, the only source of
        chance. budget_trials: how many trials will be asked for. variant: one of `variants`."""
        raise NotImplementedError

    @classmethod
    def has(cls, variant):
        """Whether there is such a variant; for optimisers with more than they list."""
        return variant in cls.variants

    @staticmethod
    def version():
        """Name and version of the package, as in "optuna 5.0.0"."""
        raise NotImplementedError

    def expect_constraints(self, count):
        """Called once before the first `ask` if the problem has constraints: how many values `tell` will get."""

    def ask(self):
        """The next point: a dict with a value for each active parameter (see `problems/space.py`)."""
        raise NotImplementedError

    def tell(self, params, values, constraints=()):
        """The result of a point; that which was asked for last, unless several run at once. values: one number per objective, each in its own direction, or None if
        the trial failed. constraints: numbers that should be <= 0."""
        raise NotImplementedError

    def start_fidelity(self, fidelity, budget_total):
        """Called once before the first `ask_fidelity`. fidelity: as in `problems/base.py`. budget_total: how much will be spent, in
        units of full evaluations."""

    def ask_fidelity(self):
        """The next piece of work: (key, params, budget). `key` names the trial and is any hashable. The loop evaluates `params` up to
        `budget`; asking a key again with a larger budget goes on from where it was, if the fidelity can be continued. An
        optimiser that judges running trials asks the same key for one step more each time."""
        raise NotImplementedError

    def tell_fidelity(self, key, params, budget, value):
        """The value at that budget, in its own direction; None if it failed."""
        raise NotImplementedError
