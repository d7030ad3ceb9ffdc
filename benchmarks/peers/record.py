#!/usr/bin/env python3
"""Records the peers' traces in order of worth, each peer in its own environment, seed by seed: `record.py [--seeds N] [--jobs N]`.

What is recorded already is skipped, and a finished run is kept at once, so it may be ended and started again at any time. It ends
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

# (environment, optimiser, tasks, trials, seeds, further arguments), the most wanted first. Slow ones run seed by seed.
FAST = [
    ("optuna", "random_search:uniform"),
    ("optuna", "optuna:tpe"),
    ("optuna", "optuna:cmaes"),
    ("hyperopt", "hyperopt:tpe"),
    ("optuna", "quasi_random:sobol"),
]


def plan(seeds):
    for environment, optimizer in FAST:
        yield environment, optimizer, "suite", 200, range(0, 5), []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of the fast peers (default: %(default)s)")
    parser.add_argument("--stop-file", type=Path, default=Path("/tmp/stop-recording"))
    arguments = parser.parse_args()
    for environment, optimizer, tasks, trials, seeds, further in plan(arguments.seeds):
        if arguments.stop_file.exists():
            break
        record(environment, optimizer, tasks, trials, seeds, further, arguments.stop_file)


def record(environment, optimizer, tasks, trials, seeds, further, stop_file):
    python = PEERS / environment / "bin" / "python"
    if not python.exists():
        print(f"{optimizer}: no environment {python.parent.parent}", file=sys.stderr, flush=True)
        return
    command = [python, SUITE, "record", optimizer, "--tasks", tasks, "--trials", str(trials), "--nice", "19"]
    command += ["--seeds", ",".join(map(str, seeds)), *further]
    child = subprocess.Popen(list(map(str, command)))
    while child.poll() is None:
        time.sleep(0.5)
        if stop_file.exists():
            child.terminate()


if __name__ == "__main__":
    main()
