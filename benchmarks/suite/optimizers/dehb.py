"""DEHB: Hyperband whose rungs are populations of differential evolution. It has no form for full runs only.

The smallest budget is 1/27 of full (epoch 1 where epochs count), as for its peers. Conditions are ConfigSpace's.
"""

import tempfile
import warnings
from importlib.metadata import version

import dehb
from loguru import logger

from ._config_space import configuration_space, point_of
from .base import Optimizer as Base

warnings.filterwarnings("ignore")


class Optimizer(Base):
    fidelity = True

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space, self.seed = space, seed
        self.sign = 1.0 if objectives[0]["direction"] == "min" else -1.0

    @staticmethod
    def version():
        return f"dehb {version('dehb')}"

    def start_fidelity(self, fidelity, budget_total):
        self.folder = tempfile.TemporaryDirectory()
        low = fidelity["low"] if fidelity["continues"] else max(fidelity["high"] / 27, fidelity["low"])
        self.dehb = dehb.DEHB(
            cs=configuration_space(self.space, self.seed),
            min_fidelity=low,
            max_fidelity=fidelity["high"],
            n_workers=1,
            seed=self.seed,
            save_freq="end",
            output_path=self.folder.name,
            log_level="ERROR",
        )
        logger.remove()
        self.whole = fidelity["type"] == "int"

    def ask_fidelity(self):
        self.job = self.dehb.ask()
        budget = self.job["fidelity"]
        params = point_of(self.space, self.job["config"])
        return self.job["config_id"], params, round(budget) if self.whole else float(budget)

    def tell_fidelity(self, key, params, budget, value):
        # DEHB keeps a failed candidate out by an endless loss.
        fitness = float("inf") if value is None else self.sign * value
        self.dehb.tell(self.job, {"fitness": fitness, "cost": budget})
