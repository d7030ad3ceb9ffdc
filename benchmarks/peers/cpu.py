#!/usr/bin/env python3
"""CPU per ask and tell, Luthier beside Optuna in one process, on a space of 10 parameters: 4 logarithmic floats, 3 integers, 3 categoricals.

    benchmarks/peers/install.sh optuna
    cargo build --release -p luthier-python
    target/peers/optuna/bin/python benchmarks/peers/cpu.py

The contenders take turns within a round, so that whatever else the machine does falls on all of them, and a ratio is taken within
a round. All have the same history: uniformly random points with their values, handed over before the clock starts; the first asks after
that are not counted, since they read it all at once. TPE is measured at lengths of history. The Gaussian process of Luthier runs the whole of
asks 1 … 300; Optuna's is asked a few times at some lengths, and its mean over the same asks is taken by straight lines between
them (up to ask 10 both draw at random). Only CPU time is read. The table goes to stdout, all figures to the file named by --out, progress to stderr.
"""

import argparse
import datetime
import json
import math
import os
import platform
import random
import statistics
import sys
import time
import warnings
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
warnings.filterwarnings("ignore")

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "suite"))

import optuna as optuna_package
import optimizers.luthier as luthier_door
import optimizers.optuna as optuna_file
from problems.space import random_point

WARM_UP = 3
GP_ASKS = 300
GP_STARTUP = 10
GP_LENGTHS = (50, 100, 200, 300)

SPACE = (
    [{"name": f"f{i}", "type": "float", "low": 1e-5, "high": 1.0, "log": True} for i in range(4)]
    + [{"name": f"i{i}", "type": "int", "low": 1, "high": 32} for i in range(3)]
    + [{"name": f"c{i}", "type": "categorical", "choices": ["a", "b", "c", "d"]} for i in range(3)]
)
OBJECTIVES = [{"name": "loss", "direction": "min"}]


def loss(point):
    """Smooth in the floats and integers, with an offset for each choice; it only has to be learnable."""
    value = sum((math.log10(point[f"f{i}"]) + 1.0 + i) ** 2 for i in range(4))
    value += sum((point[f"i{i}"] - 7 * (i + 1)) ** 2 / 100.0 for i in range(3))
    return value + sum("abcd".index(point[f"c{i}"]) * 0.5 for i in range(3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--gp-rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--asks", type=int, default=20, help="at each length, for TPE (default: %(default)s)")
    parser.add_argument("--gp-asks", type=int, default=2, help="at each length, for Optuna's GP (default: %(default)s)")
    parser.add_argument("--longest", type=int, default=100_000, help="history of Luthier's TPE alone (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE / "cpu.json", help="(default: %(default)s)")
    arguments = parser.parse_args()
    figures = {"machine": machine(), "unit": "CPU milliseconds per ask and tell", "tpe": {}, "gp": {}}
    for length in (1_000, 10_000):
        figures["tpe"][str(length)] = side_by_side(
            arguments.rounds,
            luthier=lambda seed, n=length: luthier_at("tpe", n, seed, arguments.asks),
            optuna=lambda seed, n=length: optuna_at("tpe", n, seed, arguments.asks),
        )
    figures["tpe"][str(arguments.longest)] = {"luthier": [luthier_at("tpe", arguments.longest, 0, arguments.asks)]}
    figures["gp"]["1-300"] = side_by_side(
        arguments.gp_rounds, luthier=luthier_gp_mean, optuna=lambda seed: optuna_gp_mean(seed, arguments.gp_asks)
    )
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))


def side_by_side(rounds, luthier, optuna):
    found = {"luthier": [], "optuna": []}
    for seed in range(rounds):
        for name, measured in (("luthier", luthier), ("optuna", optuna)):
            found[name].append(measured(seed))
            print(f"round {seed}: {name} {found[name][-1]:.4g} ms", file=sys.stderr, flush=True)
    found["ratio"] = [b / a for a, b in zip(found["luthier"], found["optuna"])]
    return found


def history(length, seed):
    rng = random.Random(1_000 + seed)
    points = [random_point(SPACE, rng) for _ in range(length)]
    return [(point, loss(point)) for point in points]


def measured_asks(run, count):
    """Mean CPU milliseconds of ask and tell, after the warm-up."""
    for _ in range(WARM_UP):
        once(run)
    begin = time.process_time()
    for _ in range(count):
        once(run)
    return 1000.0 * (time.process_time() - begin) / count


def once(run):
    point = run.ask()
    run.tell(point, [loss(point)])


def luthier_at(sampler, length, seed, asks):
    """All trials of the history are enqueued and told, as a user's own points are."""
    run = luthier_door.Optimizer(SPACE, OBJECTIVES, seed, length + asks, sampler)
    run.start(scheduler="run_all")
    for point, value in history(length, seed):
        run.study.enqueue(point)
        run.study.ask().tell({"loss": value})
    return measured_asks(run, asks)


def optuna_at(sampler, length, seed, asks):
    run = optuna_file.Optimizer(SPACE, OBJECTIVES, seed, length + asks, sampler)
    space = distributions()
    run.study.add_trials(
        [optuna_package.trial.create_trial(params=p, distributions=space, value=v) for p, v in history(length, seed)]
    )
    return measured_asks(run, asks)


def distributions():
    """What `suggest` will say of the same parameters; a trial of another distribution would not count."""
    trial = optuna_package.create_study().ask()
    optuna_file.suggest(trial, SPACE)
    return trial.distributions


def luthier_gp_mean(seed):
    run = luthier_door.Optimizer(SPACE, OBJECTIVES, seed, GP_ASKS, "gp")
    begin = time.process_time()
    for _ in range(GP_ASKS):
        once(run)
    return 1000.0 * (time.process_time() - begin) / GP_ASKS


def optuna_gp_mean(seed, asks):
    at = {length: optuna_at("gp", length, seed, asks) for length in GP_LENGTHS}
    return mean_over_asks({GP_STARTUP: at[GP_LENGTHS[0]], **at})


def mean_over_asks(at):
    """Mean over asks 1 … 300 of costs known at some lengths, straight between them; asks that draw at random cost nothing. Before the first
    length that was measured its cost is taken, which is what is seen: the search of the acquisition costs more than the fit."""
    lengths = sorted(at)
    total = 0.0
    for low, high in zip(lengths, lengths[1:]):
        for ask in range(low, high):
            total += at[low] + (at[high] - at[low]) * (ask - low) / (high - low)
    return total / GP_ASKS


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": [luthier_door.Optimizer.version(), optuna_file.Optimizer.version()],
    }


def table(figures):
    rows = ["| sampler, length of history | Luthier ms | Optuna ms | Optuna / Luthier |", "|---|---|---|---|"]
    for kind in ("tpe", "gp"):
        for length, found in figures[kind].items():
            row = [f"{kind}, {length}"] + [spread(found.get(name)) for name in ("luthier", "optuna", "ratio")]
            rows.append("| " + " | ".join(row) + " |")
    return "\n".join(rows)


def spread(values):
    """The median, and the least and the greatest of the rounds."""
    if not values:
        return ""
    middle = f"{statistics.median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g} – {max(values):.3g})"


if __name__ == "__main__":
    main()
