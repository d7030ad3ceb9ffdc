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
SUITE = HERE.parent / "suite" / "run.py"
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

FAST = ["optuna:tpe", "optuna:cmaes", "hyperopt:tpe", "quasi_random:sobol"]
SLOW = ["skopt:gp", "skopt:forest", "syne_tune:cqr", "ax", "syne_tune:botorch", "neps:bo"]
RUST = ["rust_optimizer:tpe", "rust_optimizer:mvtpe", "rust_optimizer:gp", "rust_optimizer:cmaes", "egobox"]
SEVERAL_FIDELITIES = ["optuna:tpe", "dehb", "syne_tune:asha", "syne_tune:bohb", "neps:priorband", "smac:multifidelity"]
WITH_FIDELITY = (
    "lcbench-167168-val_accuracy,lcbench-189873-val_accuracy,lcbench-189906-val_accuracy,lcbench-189862-val_cross_entropy,"
    "rbv2_xgboost-12-acc,rbv2_xgboost-16-acc,rbv2_xgboost-1501-acc,rbv2_rpart-14-acc"
)


def plan():
    """(optimiser, tasks, trials, seeds, further arguments), the most wanted first.

    Nevergrad and SMAC are told how long a run will be and act on it, so their runs on the core have the 100 trials they are
    judged by; the others' first 100 trials do not depend on how many follow."""
    yield "random_search", "suite", 200, range(5), []
    yield "optuna:tpe", "suite", 200, range(5), []
    yield "optuna:cmaes", "suite", 200, range(5), []
    yield "nevergrad:ngopt", "core", 100, range(5), []
    for optimizer in RUST:
        yield optimizer, "core", 100, range(5), []
    yield "smac:hpo", "core", 100, [0], []
    yield "optuna:gp", "core", 100, [0], []
    yield "hyperopt:tpe", "core", 200, range(5), []
    yield "hebo", "core", 100, [0], []
    yield "optuna:gp", "core", 100, [1], []
    yield "hyperopt:atpe", "core", 100, [0], []
    for optimizer in SEVERAL_FIDELITIES:
        yield optimizer, WITH_FIDELITY, 50, range(2), ["--fidelity"]
    yield "optuna:gp", "core", 100, [2], []
    yield "smac:hpo", "core", 100, [1, 2], []
    yield "quasi_random:sobol", "suite", 200, range(5), []
    yield "hyperopt:tpe", "suite", 200, range(5), []
    yield "optuna:auto", "core", 100, [0], []
    for optimizer in SLOW:
        yield optimizer, "core", 100, [0], []
    for seed in range(1, 5):
        for optimizer in ("optuna:gp", "smac:hpo", "hebo", "hyperopt:atpe", "optuna:auto", *SLOW):
            yield optimizer, "core", 100, [seed], []
        for optimizer in SEVERAL_FIDELITIES:
            yield optimizer, WITH_FIDELITY, 50, [seed], ["--fidelity"]
    for optimizer in FAST:
        yield optimizer, "suite", 200, range(20), []
    for optimizer in ("nevergrad:ngopt", "smac:hpo", *RUST):
        yield optimizer, "core", 100, range(20), []


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
    command = [python, SUITE, "record", optimizer, "--tasks", tasks, "--trials", trials, "--nice", 19]
    command += ["--seeds", ",".join(map(str, seeds)), *further]
    child = subprocess.Popen(list(map(str, command)))
    while child.poll() is None:
        time.sleep(0.5)
        if stop_file.exists():
            child.terminate()


if __name__ == "__main__":
    main()
