#!/usr/bin/env python3
"""Records the peers' traces in order of worth, each peer in its own environment, seed by seed: `record.py`.

What is recorded already is skipped, and a finished run is kept at once, so it may be ended and started again at any time, and several may
run side by side (with --only). It ends
by itself when everything is there, or within seconds once the file named by --stop-file exists.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUN = HERE.parent / "suite" / "run.py"
PEERS = Path(os.environ.get("LUTHIER_PEERS", HERE.parents[1] / "target" / "peers"))

# Environment of each optimiser's file.
ENVIRONMENT = {
    "optuna": "optuna",
    "hyperopt": "hyperopt",
    "nevergrad": "nevergrad",
    "quasi_random": "optuna",
    "random_search": "optuna",
    "smac": "smac",
    "skopt": "skopt",
    "hebo": "hebo",
    "ax": "ax",
    "syne_tune": "syne-tune",
    "dehb": "dehb",
    "neps": "neps",
    "rust_optimizer": "optuna",
    "egobox": "optuna",
}

FUNCTIONS = "functions,mixed,conditional,constrained,noisy,tables-noisy,bbob"
FAST = ["random_search", "optuna:tpe", "optuna:cmaes", "hyperopt:tpe", "nevergrad:ngopt", "quasi_random:sobol", "hyperopt:random",
        "rust_optimizer:tpe", "rust_optimizer:mvtpe", "rust_optimizer:cmaes", "rust_optimizer:gp"]  # fmt: skip
SLOW = ["optuna:gp", "smac:hpo", "hebo", "hyperopt:atpe", "optuna:auto", "skopt:gp", "skopt:forest", "syne_tune:cqr", "ax", "egobox"]
SEVERAL_FIDELITIES = ["optuna:tpe", "dehb", "syne_tune:asha", "syne_tune:bohb", "neps:priorband", "smac:multifidelity"]
ON_FUNCTIONS = ["random_search", "optuna:tpe", "optuna:cmaes", "nevergrad:ngopt"]
SEVERAL_OBJECTIVES = ["random_search", "optuna:tpe", "optuna:nsga2"]
AT_ONCE = ["random_search", "optuna:tpe", "optuna:cmaes", "hyperopt:tpe", "quasi_random:sobol"]


def plan():
    """(optimiser, tasks, trials, seeds, further arguments), the most wanted first: a few seeds of everything, then the others.

    Nevergrad and SMAC are told how long a run will be and act on it; the others' first 100 trials do not depend on how many follow."""
    for optimizer in FAST:
        yield optimizer, "suite", 200, range(5), []
    for seed in range(5):
        for optimizer in SLOW:
            yield optimizer, "core", 100, [seed], []
    for seeds in (range(5), range(20)):
        for optimizer in SEVERAL_FIDELITIES:
            yield optimizer, "core", 50, seeds, ["--fidelity"]
        for optimizer in AT_ONCE:
            yield optimizer, "core", 100, seeds, ["--workers", 8]
    for optimizer in FAST:
        yield optimizer, "suite", 200, range(20), []
    for optimizer in SEVERAL_FIDELITIES:
        yield optimizer, "curves", 50, range(20), ["--fidelity"]
    for optimizer in ON_FUNCTIONS:
        yield optimizer, FUNCTIONS, 100, range(20), []
    for optimizer in SEVERAL_OBJECTIVES:
        yield optimizer, "multiobjective", 100, range(20), []
    for optimizer in ("random_search", "optuna:tpe"):
        yield optimizer, "training", 50, range(20), []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stop-file", type=Path, default=Path("/tmp/stop-recording"), help="(default: %(default)s)")
    parser.add_argument("--only", help="optimisers joined by commas, of those planned (default: all)")
    arguments = parser.parse_args()
    for optimizer, tasks, trials, seeds, further in plan():
        if arguments.stop_file.exists():
            break
        if arguments.only is None or optimizer in arguments.only.split(","):
            record(optimizer, tasks, trials, seeds, further, arguments.stop_file)


def record(optimizer, tasks, trials, seeds, further, stop_file):
    python = PEERS / ENVIRONMENT[optimizer.partition(":")[0]] / "bin" / "python"
    if not python.exists():
        print(f"{optimizer}: no environment {python.parent.parent}", file=sys.stderr, flush=True)
        return
    command = [python, RUN, "record", optimizer, "--tasks", tasks, "--trials", trials, "--nice", 19]
    command += ["--seeds", ",".join(map(str, seeds)), *further]
    child = subprocess.Popen(list(map(str, command)))
    while child.poll() is None:
        time.sleep(0.5)
        if stop_file.exists():
            child.terminate()


if __name__ == "__main__":
    main()
