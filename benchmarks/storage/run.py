"""Cost of storage: Luthier's durable finished trial beside Optuna's, in one run, and a cold start on a million trials.

    cargo build --release --examples
    benchmarks/peers/install.sh reference
    python3 benchmarks/storage/run.py

The contenders take turns (A B C, A B C, ...), so that whatever else the machine does falls on all of them; a ratio is
taken within a round. Each is given enough trials to run for seconds. Nothing but Python's standard library is needed
here; Optuna runs in the environment of `benchmarks/peers`. Progress goes to stderr, the table to stdout, all figures to
the file named by --out.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PEER = "optuna, sqlite"
FIGURES = ("ms_wall_per_trial", "ms_cpu_per_trial")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    venv = pathlib.Path(os.environ.get("LUTHIER_PEERS", REPOSITORY / "target" / "peers")) / "reference"
    parser.add_argument("--python", type=pathlib.Path, default=venv / "bin" / "python", help="the peers' interpreter")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    parser.add_argument("--examples", type=pathlib.Path, default=target / "release" / "examples")
    parser.add_argument("--dir", type=pathlib.Path, help="where the databases go; the disk that is measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-trials", type=int, default=200)
    parser.add_argument("--normal-trials", type=int, default=20_000)
    parser.add_argument("--full-trials", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=8, help="workers of the group commit contender; 0 leaves it out")
    parser.add_argument("--million", action="store_true", help="also open a study of 1,000,000 trials x 10 parameters")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("storage-cost.json"))
    return parser.parse_args()


def contenders(options, folder):
    ours = options.examples / "storage_cost"

    def luthier(durability, trials, *more):
        return [ours, "--trials", trials, "--params", 10, "--durability", durability, "--dir", folder, *more]

    commands = {
        PEER: [options.python, HERE / "optuna_sqlite.py", "--trials", options.peer_trials, "--dir", folder],
        "luthier, survives kill": luthier("normal", options.normal_trials),
        "luthier, survives power loss": luthier("full", options.full_trials),
    }
    if options.workers:
        name = f"luthier, survives power loss, {options.workers} workers"
        commands[name] = luthier("full", options.full_trials, "--workers", options.workers)
    return {name: [str(part) for part in command] for name, command in commands.items()}


def outcome(command):
    """The JSON a program prints as its last line; ends this script with the program's own words if it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not there. Build it first: see the top of {pathlib.Path(__file__).name}.")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(lines[-1])


def fsync_ms(folder, repeats=50):
    """Median milliseconds of an fsync after 4 KiB: the price of one commit that survives power loss."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(repeats):
            file.write(b"\0" * 4096)
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def table(heads, rows):
    cells = [heads, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for first, *others in cells:
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(others, widths[1:]))
        print(f"{first:<{widths[0]}}{numbers}")
    print()


def summary(runs):
    costs, ratios = {}, {}
    for name, outcomes in runs.items():
        costs[name] = {figure: spread([run[figure] for run in outcomes]) for figure in FIGURES}
        if name != PEER:
            ratios[name] = {
                figure: spread([peer[figure] / run[figure] for peer, run in zip(runs[PEER], outcomes)])
                for figure in FIGURES
                if all(run[figure] > 0 for run in outcomes)
            }
    return costs, ratios


def show(costs, ratios):
    numbers = ("min", "median", "max")
    for figure, title in zip(FIGURES, ("wall, ms a trial", "CPU, ms a trial")):
        table([title, *numbers], [[name, *(f"{row[figure][n]:.4f}" for n in numbers)] for name, row in costs.items()])
    for figure, title in zip(FIGURES, (f"times less wall than {PEER}", f"times less CPU than {PEER}")):
        rows = [[name, *(f"{row[figure][n]:.1f}" for n in numbers)] for name, row in ratios.items() if figure in row]
        table([title, *numbers], rows)


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="storage-cost-") as folder:
        commands = contenders(options, folder)
        sync = fsync_ms(folder)
        runs = {name: [] for name in commands}
        for number in range(1, options.rounds + 1):
            for name, command in commands.items():
                run = outcome(command)
                runs[name].append(run)
                print(f"round {number}: {name}: {run['ms_wall_per_trial']:.4f} ms a trial", file=sys.stderr)
        costs, ratios = summary(runs)
        result = {
            "machine": {"system": platform.platform(), "cores": os.cpu_count(), "fsync_ms": sync},
            "costs": costs,
            "ratios": ratios,
            "runs": runs,
        }
        print(f"{platform.platform()}, {os.cpu_count()} cores, fsync of 4 KiB {sync:.2f} ms, {options.rounds} rounds\n")
        show(costs, ratios)
        if options.million:
            result["million"] = million = outcome([str(options.examples / "million"), str(pathlib.Path(folder) / "million.luthier")])
            print("{trials} trials: opened in {open_s:.2f} s, best in {best_s:.4f} s, peak memory {peak_rss_mb:.0f} MB"
                  .format_map(million))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
