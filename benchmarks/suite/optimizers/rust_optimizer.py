"""The Rust crate `optimizer`: TPE, multivariate TPE, CMA-ES, Gaussian process, differential evolution; define-by-run, so that conditions are
native. A level of an ordinal is an integer."""

from . import _rust


class Optimizer(_rust.Run):
    package = "optimizer"
    variants = ("tpe", "mvtpe", "cmaes", "gp", "de")

    @staticmethod
    def version():
        return "optimizer 1.0.1 (Rust)"
