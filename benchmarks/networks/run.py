"""Luthier's network engines beside PyTorch: the same networks, batches and optimiser, one thread each, in turn.

    cargo build --release -p luthier-nn --features burn --example networks
    PYTHON_WITH_TORCH benchmarks/networks/run.py [--rounds 5] [--networks cnn,lstm] [--json FILE]

Prints optimiser steps per second of CPU time (so other programs on the machine matter less) and the ratio, as median
over the rounds with the smallest and largest. Both sides run within seconds of each other in every round.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LUTHIER = HERE.parent.parent / "target" / "release" / "examples" / "networks"
# Steps of Luthier and of PyTorch in a round: each about a second or two.
STEPS = {"mlp": (10_000, 3_000), "tiny": (300_000, 5_000), "cnn": (300, 200), "lstm": (500, 500), "gru": (500, 500)}


def luthier(program, network, steps):
    """Steps per second of CPU time, start-up included: some milliseconds in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, network, str(steps)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return steps / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def pytorch(network, steps):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, HERE / "torch_throughput.py", network, str(steps)]
    return float(subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout)


def spread(values, digits):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", default=",".join(STEPS))
    parser.add_argument("--luthier", default=str(LUTHIER), help="the example program `networks`")
    parser.add_argument("--json", type=Path, help="where to write all rounds")
    options = parser.parse_args()
    results = {}
    print(f"{'network':8} {'luthier steps/s':>26} {'pytorch steps/s':>26} {'ratio':>20}")
    for network in options.networks.split(","):
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(luthier(options.luthier, network, STEPS[network][0]))
            theirs.append(pytorch(network, STEPS[network][1]))
        ratios = [a / b for a, b in zip(ours, theirs)]
        print(f"{network:8} {spread(ours, 0):>26} {spread(theirs, 0):>26} {spread(ratios, 2):>20}", flush=True)
        results[network] = {"luthier": ours, "pytorch": theirs, "ratio": ratios}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


main()
