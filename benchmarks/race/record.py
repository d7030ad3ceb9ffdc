"""Records what racing is measured on: decision trees on small tables, every configuration of a grid by 5-fold cross-validation under two
seeds, and trained on all rows but a fifth that is held out; eight times, each time another fifth. Nothing here is modelled.

    python3 benchmarks/race/record.py DATA [--jobs 2]

DATA is a folder with the raw tables (UCI names). Needs scikit-learn and NumPy. Losses are error rates (classification) or root mean
squared errors over the target's standard deviation, in whole hundred-thousandths: for each split of a table, `folds[config][seed][fold]`, and `test[config]`, the mean
over five trees on the held-out rows. A single fifth is too few rows to say which of two good configurations is better. Splits that are in the file are not made again;
of the tables that do not count it holds the first one only.
"""

import argparse
import gzip
import itertools
import json
import pathlib
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np
import sklearn
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

TABLES = {
    "german": ("german.csv.gz", ",", "classification"),
    "vehicle": ("vehicle.dat.gz", ",", "classification"),
    "segment": ("segment.dat.gz", ",", "classification"),
    "optdigits": ("optdigits.dat.gz", ",", "classification"),
    "concrete": ("concrete.txt.gz", None, "regression"),
    "yacht": ("yacht.txt.gz", None, "regression"),
    # Not among the six that count: defaults were chosen on these.
    "energy": ("energy.txt.gz", None, "regression"),
    "wine": ("winequality-white.csv.gz", ",", "regression"),
    "spambase": ("spambase.dat.gz", ",", "classification"),
}
GRID = {
    "max_depth": [2, 3, 5, 7, 10, 15],
    "min_samples_leaf": [1, 2, 4, 8, 16, 32],
    "max_features": [0.1, 0.2, 0.35, 0.5, 0.75, 1.0],
}
ROWS = 700
SPLITS = 8
UNIT = 1e-5
FILE = pathlib.Path(__file__).resolve().parent / "tables.json"


def read(folder, file, separator):
    raw = next(pathlib.Path(folder).rglob(file)).read_bytes()
    rows = [line.split(separator) for line in gzip.decompress(raw).decode().splitlines() if line.strip()]
    rows = [[cell.strip() for cell in row] for row in rows if not row[0].startswith("@")]
    if file.startswith("energy"):
        rows = [row[:-1] for row in rows]  # it has two targets
    columns = list(zip(*rows))
    coded = []
    for column in columns:
        try:
            coded.append(np.array(column, float))
        except ValueError:
            coded.append(np.unique(column, return_inverse=True)[1].astype(float))
    return np.stack(coded[:-1], 1), coded[-1]


def loss(task, params, seed, train, test):
    kind = DecisionTreeClassifier if task == "classification" else DecisionTreeRegressor
    tree = kind(random_state=seed, **params).fit(*train)
    said = tree.predict(test[0])
    if task == "classification":
        return float(np.mean(said != test[1]))
    return float(np.sqrt(np.mean((said - test[1]) ** 2)) / np.std(train[1]))


def record(folder, name, split):
    """One split of one table."""
    file, separator, task = TABLES[name]
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    x, y = read(folder, file, separator)
    x = x.astype(np.float32)  # as trees would by themselves, fit by fit
    keep = np.random.default_rng(0).permutation(len(y))[: ROWS * 5 // 4]
    return record_split(task, x[keep], y[keep], split)


def record_split(task, x, y, split):
    stratify = y if task == "classification" else None
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=split, stratify=stratify)
    folds, tests = [], []
    for values in itertools.product(*GRID.values()):
        params = dict(zip(GRID, values))
        by_seed = []
        for seed in range(2):
            splitter = StratifiedKFold if task == "classification" else KFold
            parts = splitter(5, shuffle=True, random_state=seed).split(x, y)
            by_seed.append([units(loss(task, params, seed, (x[a], y[a]), (x[b], y[b]))) for a, b in parts])
        folds.append(by_seed)
        final = [loss(task, params, 100 + seed, (x, y), (x_test, y_test)) for seed in range(5)]
        tests.append(units(np.mean(final)))
    return {"folds": folds, "test": tests}


def units(loss):
    return round(float(loss) / UNIT)


def written(tables):
    """One split a line."""
    dense = lambda value: json.dumps(value, separators=(",", ":"))
    splits = lambda of: ",\n".join(f'  {dense(split)}: {dense(of[split])}' for split in sorted(of, key=int))
    parts = ",\n".join(f' {dense(name)}: {{\n{splits(tables[name])}\n }}' for name in TABLES if name in tables)
    grid = dense({name: len(values) for name, values in GRID.items()})
    return f'{{"grid": {grid}, "unit": {UNIT}, "tables": {{\n{parts}\n}}}}\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=FILE)
    options = parser.parse_args()
    tables = json.loads(options.out.read_text())["tables"] if options.out.exists() else {}
    wanted = itertools.product(range(SPLITS), options.tables.split(","))
    missing = [(name, split) for split, name in wanted if str(split) not in tables.get(name, {})]
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = {pool.submit(record, options.data, name, split): (name, split) for name, split in missing}
        for job in as_completed(jobs):
            name, split = jobs[job]
            tables.setdefault(name, {})[str(split)] = job.result()
            options.out.write_text(written(tables))
            print(name, split, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
