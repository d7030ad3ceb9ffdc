"""What a report with its verdict costs: Luthier's schedulers beside Optuna's pruners, in CPU microseconds.

    cargo bench -p luthier-core --bench schedulers --no-run
    benchmarks/peers/install.sh reference
    python3 benchmarks/schedulers/run.py

1,000 trials of 50 steps, of which none is stopped although every report is judged; the mean over the last 100 trials. Luthier's figures hold
starts and ends of trials too, Optuna's only `report` and `should_prune`. Contenders take turns. The table goes to stdout, all figures to --out.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PAIRS = [
    ("median", "", "MedianPruner"),
    ("percentile", "", "PercentilePruner"),
    ("patience", "median", "PatientPruner"),
    ("asha", "stop", "SuccessiveHalvingPruner"),
    ("hyperband", "stop", "HyperbandPruner"),
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    venv = pathlib.Path(os.environ.get("LUTHIER_PEERS", REPOSITORY / "target" / "peers")) / "reference"
    arguments.add_argument("--python", type=pathlib.Path, default=venv / "bin" / "python", help="the peers' interpreter")
    arguments.add_argument("--trials", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--most", type=int, default=100_000, help="the longest of Luthier's studies")
    arguments.add_argument("--out", type=pathlib.Path, default=HERE / "results.json")
    options = arguments.parse_args()
    ours, theirs = [], {}
    for number in range(options.rounds):
        ours.append(luthier(options.most if number == 0 else 1000))
        for _, _, pruner in PAIRS:
            theirs.setdefault(pruner, []).append(optuna(options, pruner))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    found = {"trials": options.trials, "steps": 50, "luthier": {}, "optuna": {}, "ratio": {}}
    for key in ours[0]:
        found["luthier"][" ".join(map(str, key))] = statistics.median(run[key] for run in ours if key in run)
    for scheduler, mode, pruner in PAIRS:
        peer = statistics.median(run["us_per_report"] for run in theirs[pruner])
        found["optuna"][pruner] = peer
        found["ratio"][f"{scheduler} {mode}".strip()] = peer / found["luthier"][f"{scheduler} {mode} 1000"]
    found["version"] = theirs[PAIRS[0][2]][0]["version"]
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{'':24} {'Luthier':>10} {'Optuna':>10} {'ratio':>8}")
    for scheduler, mode, pruner in PAIRS:
        name = f"{scheduler} {mode}".strip()
        own = found["luthier"][f"{scheduler} {mode} 1000"]
        print(f"{name:24} {own:>10.2f} {found['optuna'][pruner]:>10.1f} {found['ratio'][name]:>8.0f}")


def luthier(most):
    """{(scheduler, mode, trials): microseconds per report}."""
    command = ["cargo", "bench", "-q", "-p", "luthier-core", "--bench", "schedulers", "--", *{pair[0] for pair in PAIRS}, "--most", str(most)]
    text = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    rows = {}
    for line in text.splitlines()[1:]:
        scheduler, mode, rest = line[:22].strip(), line[23:31].strip(), line[31:].split()
        rows[scheduler, mode, int(rest[0])] = float(rest[1])
    return rows


def optuna(options, pruner):
    command = [options.python, HERE / "optuna_pruners.py", "--pruner", pruner, "--trials", options.trials]
    return json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
