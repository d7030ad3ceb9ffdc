"""A thousand workers over recorded curves in virtual time: how busy Luthier's schedulers keep them.

    python3 benchmarks/schedulers/workers.py

10,000 trials get the curves of TaskSet's text networks (1,000 settings of Adam, 51 points each; benchmarks/suite/data/curves) whose settings are
nearest, with stragglers, failures and lost workers. Needs numpy. The table goes to stdout, all figures to --out.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "suite"))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--network", default="patch32_GRU128_bs128", help="whose curves (default: %(default)s)")
    arguments.add_argument("--workers", type=int, default=1000)
    arguments.add_argument("--trials", type=int, default=10_000)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=pathlib.Path, default=HERE / "workers.json")
    options = arguments.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(table(options.network), file)
        file.flush()
        runs = [run for seed in range(options.seeds) for run in play(file.name, seed, options)]
    options.out.write_text(json.dumps({"network": options.network, "runs": runs}, indent=1) + "\n")
    print("| scheduler | busy while trials start | to the end | steps of all | best loss | CPU s a study |\n|---|---|---|---|---|---|")
    for name in dict.fromkeys((run["scheduler"], run["mode"]) for run in runs):
        own = [run for run in runs if (run["scheduler"], run["mode"]) == name]
        busy, whole = percents(own, "busy_while_starting"), percents(own, "busy")
        steps, best, seconds = (sum(run[key] for run in own) / len(own) for key in ("steps", "best", "seconds"))
        print(f"| `{name[0]}`, `{name[1]}` | {busy} | {whole} | {steps:,.0f} | {best:.3f} | {seconds:.1f} |")


def table(network):
    """The recorded runs as the example `workers` reads them."""
    from problems.recorded import Curves, TASKSET_SPACE

    problem = Curves(network)
    runs = []
    for row, losses in enumerate(problem.losses.tolist()):
        # What lies on the edge is a rounding away from it.
        inside = {p["name"]: min(max(float(c[row]), p["low"]), p["high"]) for p, c in zip(TASKSET_SPACE, problem.columns)}
        runs.append({"params": inside, "losses": losses})
    return {"params": [{key: p[key] for key in ("name", "low", "high", "log")} for p in TASKSET_SPACE], "seconds": 60.0, "runs": runs}


def play(file, seed, options):
    command = ["cargo", "run", "-q", "--release", "-p", "luthier", "--example", "workers", "--", file]
    command += ["--workers", options.workers, "--trials", options.trials, "--seed", seed]
    text = subprocess.run(list(map(str, command)), cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [{"seed": seed, **json.loads(line)} for line in text.splitlines()]


def percents(runs, key):
    values = sorted(100 * run[key] for run in runs)
    return f"{values[0]:.1f} … {values[-1]:.1f} %"


if __name__ == "__main__":
    main()
