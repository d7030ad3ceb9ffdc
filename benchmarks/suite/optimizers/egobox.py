"""The Rust crate `egobox-ego`: efficient global optimisation with mixtures of Gaussian processes, mixed parameters by relaxation. It knows no
conditions; a logarithmic parameter is handed over as its logarithm."""

from . import _rust


class Optimizer(_rust.Run):
    package = "egobox"
    conditions = False

    @staticmethod
    def version():
        return "egobox-ego 0.42.0 (Rust)"
