"""Racing folds beside full cross-validation: the same study files with and without `race`, on small tables.

    python3 benchmarks/race/run.py DATA [--luthier target/debug/luthier] [--seeds 5] [--trials 40] [--tables german,yacht] [--scheduler '{...}']

DATA is a folder with the raw tables (UCI names, see TABLES) and `digits.csv`. Each run tunes a dense network by 5-fold
cross-validation over the rows that are not held out (a fifth, another one for each seed); the winner is trained anew and measured once
on the held-out rows. A fit is one training of one fold. Prints one line per run as JSON and a table at the end.
"""

import argparse
import gzip
import json
import pathlib
import resource
import sqlite3
import statistics
import subprocess
import tempfile

TABLES = {
    # name: (file, separator, index of the target from the end, task)
    "german": ("german.csv.gz", ",", -1, "classification"),
    "vehicle": ("vehicle.dat.gz", ",", -1, "classification"),
    "segment": ("segment.dat.gz", ",", -1, "classification"),
    "digits": ("digits.csv", ",", -1, "classification"),
    "concrete": ("concrete.txt.gz", None, -1, "regression"),
    "yacht": ("yacht.txt.gz", None, -1, "regression"),
    # Not among the six: rules were chosen on these.
    "energy": ("energy.txt.gz", None, -1, "regression"),
    "wine": ("winequality-white.csv.gz", ",", -1, "regression"),
    "spambase": ("spambase.dat.gz", ",", -1, "classification"),
}
SIX = ["german", "vehicle", "segment", "digits", "concrete", "yacht"]
MOST_ROWS = 2400

STUDY = """
name = "{name}"
seed = {seed}
trials = {trials}
{replicates}

[metric]
name = "{metric}"
direction = "{direction}"
curve = "best"

[policy]
scheduler = {scheduler}

[network.data]
file = "table.csv"
header = false
target = {target}
task = "{task}"
validation = 0.2
test = 0.2
seed = {seed}

[network.settings]
epochs = 20

[params.learning_rate]
type = "float"
low = 1e-4
high = 1e-1
scale = "log"

[params.units]
type = "int"
low = 4
high = 96
scale = "log"

[params.layers]
type = "int"
low = 1
high = 3

[params.dropout]
type = "float"
low = 0.0
high = 0.5

[params.l2]
type = "float"
low = 1e-6
high = 1e-1
scale = "log"

[params.batch_size]
type = "int"
low = 8
high = 128
scale = "log"
"""

WAYS = {
    "full": ('"run_all"', "replicates = { folds = 5 }"),
    "race": ('"race"', "replicates = { folds = 5 }"),
}


def table(folder, name):
    """The table's rows as comma-separated text, and the number of its target column."""
    file, separator, target, _ = TABLES[name]
    places = [path for path in pathlib.Path(folder).rglob(file)]
    if not places:
        raise SystemExit(f"{file} is not under {folder}")
    raw = places[0].read_bytes()
    text = gzip.decompress(raw).decode() if file.endswith(".gz") else raw.decode()
    rows = [[cell.strip() for cell in line.split(separator)] for line in text.splitlines() if line.strip()]
    rows = [row for row in rows if not row[0].startswith("@")]
    if name == "digits":
        rows = rows[1:]
    if name == "energy":
        rows = [row[:-1] for row in rows]  # it has two targets
    stride = max(1, -(-len(rows) // MOST_ROWS))
    return "\n".join(",".join(row) for row in rows[::stride]) + "\n", len(rows[0]) - 1


def run(luthier, folder, name, way, seed, trials, scheduler):
    text, target = table(folder, name)
    task = TABLES[name][3]
    chosen, replicates = WAYS[way]
    study = STUDY.format(
        name=name,
        seed=seed,
        trials=trials,
        replicates=replicates,
        metric="val_accuracy" if task == "classification" else "val_rmse",
        direction="maximize" if task == "classification" else "minimize",
        scheduler=scheduler if way == "race" and scheduler else chosen,
        target=target,
        task=task,
    )
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "table.csv").write_text(text)
        (place / "study.toml").write_text(study)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([luthier, "tune", "study.toml", "--json"], cwd=place, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{name} {way}: {done.stderr}{done.stdout[-500:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = json.loads(done.stdout.splitlines()[-1])
        log = sqlite3.connect(place / f"{name}.luthier")
        fits = log.execute("SELECT count(*) FROM log WHERE json_extract(body, '$.claimed') IS NOT NULL").fetchone()[0]
        log.close()
    held = dict(result["held_out"])
    metric = "accuracy" if task == "classification" else "rmse"
    return {
        "table": name,
        "way": way,
        "seed": seed,
        "fits": fits,
        "test": held[metric],
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data")
    arguments.add_argument("--luthier", default="target/debug/luthier")
    arguments.add_argument("--seeds", default="0-4")
    arguments.add_argument("--trials", type=int, default=40)
    arguments.add_argument("--tables", default=",".join(SIX))
    arguments.add_argument("--ways", default="full,race")
    arguments.add_argument("--scheduler", help="another race, as a TOML value")
    given = arguments.parse_args()
    first, last = (int(part) for part in given.seeds.split("-"))
    luthier = str(pathlib.Path(given.luthier).resolve())
    rows = []
    for seed in range(first, last + 1):
        for name in given.tables.split(","):
            for way in given.ways.split(","):
                row = run(luthier, given.data, name, way, seed, given.trials, given.scheduler)
                rows.append(row)
                print(json.dumps(row), flush=True)
    summary(rows)


def summary(rows):
    print("| table | full: test (mean) | fits | race: test (mean) | fits | share of fits |")
    print("|---|---|---|---|---|---|")
    for name in dict.fromkeys(row["table"] for row in rows):
        cells = []
        for way in ("full", "race"):
            own = [row for row in rows if row["table"] == name and row["way"] == way]
            cells.append((statistics.fmean(r["test"] for r in own), statistics.fmean(r["fits"] for r in own)) if own else (0, 1))
        (a, m), (b, n) = cells
        print(f"| {name} | {a:.4f} | {m:.0f} | {b:.4f} | {n:.0f} | {100 * n / m:.0f} % |")


if __name__ == "__main__":
    main()
