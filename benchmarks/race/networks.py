"""Races over folds on networks: epochs used and held-out loss, beside every fold of every trial.

    cargo build --release -p luthier-cli
    python3 benchmarks/race/networks.py [--data FOLDER] [--seeds 0-4] [--out benchmarks/race/networks.json]

Networks of one or two layers, 24 trials of 20 epochs by 5-fold cross-validation, `tpe`. A fifth of the rows is seen by no trial; for each
seed another fifth. The winner is trained anew on all other rows and measured there once. Digits are in the repository; FOLDER holds the
other tables under their UCI names (as for `record.py`). Of each table at most 875 rows, as there. Runs that are in the file are
not made again.
"""

import argparse
import gzip
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
ROWS = 875
# File, and whether it is to be classified.
TABLES = {
    "digits": (None, True),
    "german": ("german.csv.gz", True),
    "vehicle": ("vehicle.dat.gz", True),
    "segment": ("segment.dat.gz", True),
    "concrete": ("concrete.txt.gz", False),
    "yacht": ("yacht.txt.gz", False),
}
WAYS = {"full": "run_all", "race": "race"}
STUDY = """name = "folds"
trials = 24
seed = {seed}

[metric]
name = "{metric}"
curve = "best"

[replicates]
folds = 5

[policy]
sampler = "tpe"
scheduler = "{scheduler}"

[network.data]
file = "rows.csv"
header = false
seed = {seed}

[network.settings]
epochs = 20

[params.layers]
type = "int"
low = 1
high = 2

[params.units]
type = "int"
low = 8
high = 128
scale = "log"

[params.dropout]
type = "float"
low = 0.0
high = 0.5

[params.learning_rate]
type = "float"
low = 1e-4
high = 1e-1
scale = "log"

[params.l2]
type = "float"
low = 1e-7
high = 1e-1
scale = "log"

[params.batch_size]
type = "categorical"
choices = [16, 32, 64]
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--luthier", type=Path, default=REPOSITORY / "target/release/luthier")
    parser.add_argument("--out", type=Path, default=HERE / "networks.json")
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    first, last = (options.seeds.split("-") * 2)[:2]
    seeds = [str(seed) for seed in range(int(first), int(last) + 1)]
    tables = options.tables.split(",")
    for table in tables:
        if TABLES[table][0] and not options.data:
            print(f"{table} is left out: it needs --data", file=sys.stderr)
            continue
        for seed in seeds:
            for way in WAYS:
                runs = found.setdefault(table, {}).setdefault(way, {})
                if seed not in runs:
                    runs[seed] = luthier(options, table, way, seed)
                    options.out.write_text(written(found))
                    print(f"{table} seed {seed} {way}: {runs[seed]}", file=sys.stderr, flush=True)
    report(found, tables, seeds)


def written(found):
    """The runs of one way in one line."""
    tables = (f' "{table}": {{\n' + ",\n".join(f'  "{way}": {json.dumps(runs)}' for way, runs in ways.items()) + "\n }" for table, ways in found.items())
    return "{\n" + ",\n".join(tables) + "\n}\n"


def rows(options, table):
    """The table's first rows in an order of their own, as comma-separated text."""
    import random

    file, _ = TABLES[table]
    if file is None:
        lines = (REPOSITORY / "examples/digits/digits.csv").read_text().splitlines()[1:]
    else:
        text = gzip.decompress(next(options.data.rglob(file)).read_bytes()).decode()
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("@")]
    lines = [",".join(line.replace(",", " ").split()) for line in lines]
    random.Random(0).shuffle(lines)
    return "\n".join(lines[:ROWS]) + "\n"


def luthier(options, table, way, seed):
    classes = TABLES[table][1]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rows.csv").write_text(rows(options, table))
        metric = "val_loss" if classes else "val_rmse"
        (Path(folder) / "study.toml").write_text(STUDY.format(seed=seed, metric=metric, scheduler=WAYS[way]))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([options.luthier.resolve(), "tune", "study.toml", "--json"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stdout[-1000:] + done.stderr[-3000:])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout.splitlines()[-1])
    held_out = dict(result["held_out"])
    return {
        "epochs": result["steps"],
        "test": held_out["loss" if classes else "rmse"],
        "accuracy": held_out.get("accuracy"),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
    }


def report(found, tables, seeds):
    print("Losses on held-out rows: cross-entropy, or root mean squared error in the target's unit; the difference in per cent of the full search's loss, below 0 where the race is better")
    print(f"{'':10}{'seeds':>6}{'full: loss':>12}{'epochs':>8}{'race: loss':>12}{'epochs':>8}{'share':>7}{'difference, %':>18}{'race no worse':>15}{'accuracy, points':>20}")
    for table in tables:
        ways = found.get(table, {})
        chosen = [seed for seed in seeds if all(seed in ways.get(way, {}) for way in WAYS)]
        if len(chosen) < 2:
            continue
        of = lambda way, key: [ways[way][seed][key] for seed in chosen]
        mean = lambda way, key: statistics.mean(of(way, key))
        relative = [100 * (race / full - 1) for full, race in zip(of("full", "test"), of("race", "test"))]
        error = statistics.stdev(relative) / len(relative) ** 0.5
        print(f"{table:10}{len(chosen):6}{mean('full', 'test'):12.4f}{mean('full', 'epochs'):8.0f}{mean('race', 'test'):12.4f}{mean('race', 'epochs'):8.0f}{mean('race', 'epochs') / mean('full', 'epochs'):7.0%}{statistics.mean(relative):+10.1f} ± {error:.1f}{sum(value <= 0 for value in relative):>11}/{len(relative)}{accuracy(of):>20}")


def accuracy(of):
    """How much better the race classifies, in points, with its standard error; nothing where nothing is classified."""
    if None in of("full", "accuracy"):
        return ""
    gains = [100 * (race - full) for full, race in zip(of("full", "accuracy"), of("race", "accuracy"))]
    return f"{statistics.mean(gains):+.1f} ± {statistics.stdev(gains) / len(gains) ** 0.5:.1f}"


if __name__ == "__main__":
    main()
