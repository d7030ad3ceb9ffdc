"""Predictions of scikit-learn's trees and forests, for tests/forest.rs: writes forest.json beside it.

Single trees without bootstrap leave nothing to chance where no two splits are equally good: with one coordinate, and with several where
leaves have a few rows. Their predictions must be met. Of forests only the error is compared, over many seeds.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

rng = np.random.default_rng(20260)


def grid(rows, columns):
    # Multiples of 1/1024 are exact as float32, in which scikit-learn keeps coordinates.
    return rng.integers(0, 1024, size=(rows, columns)) / 1024


def bowl(x):
    wave = np.sin(6 * x[:, 0]) + 2 * (x[:, -1] - 0.3) ** 2
    return wave + (0.5 * x[:, 1] if x.shape[1] > 1 else 0)


def tree(name, rows, columns, **settings):
    while True:
        x, tests = grid(rows, columns), grid(40, columns)
        if columns == 1:
            x = np.unique(x, axis=0)
        y = bowl(x) + 0.1 * rng.normal(size=len(x))
        found = [DecisionTreeRegressor(random_state=s, **settings).fit(x, y).predict(tests) for s in range(8)]
        # Drawn anew until chance has nothing to decide.
        if all(np.array_equal(found[0], other) for other in found):
            break
    return {
        "name": name, **settings, "x": x.tolist(), "y": y.tolist(), "tests": tests.tolist(), "predictions": found[0].tolist(),
    }


def ensemble(make, x, y, tests, truth):
    errors, spreads = [], []
    for seed in range(100):
        model = make(seed).fit(x, y)
        trees = np.array([one.predict(tests) for one in model.estimators_])
        errors.append(np.sqrt(np.mean((trees.mean(axis=0) - truth) ** 2)))
        spreads.append(np.mean(trees.std(axis=0)))
    return {"error": float(np.mean(errors)), "spread": float(np.mean(spreads))}


x, tests = grid(150, 4), grid(200, 4)
y, truth = bowl(x) + 0.1 * rng.normal(size=len(x)), bowl(tests)
result = {
    "trees": [
        tree("one coordinate, to the last row", 60, 1),
        tree("three coordinates, leaves of five", 120, 3, min_samples_leaf=5, max_depth=4),
        tree("two coordinates, nodes of twelve", 90, 2, min_samples_split=12, min_samples_leaf=3),
    ],
    "forests": {
        "x": x.tolist(), "y": y.tolist(), "tests": tests.tolist(), "truth": truth.tolist(),
        "random": ensemble(lambda s: RandomForestRegressor(10, random_state=s), x, y, tests, truth),
        "half": ensemble(lambda s: RandomForestRegressor(10, max_features=0.5, random_state=s), x, y, tests, truth),
        "extra": ensemble(lambda s: ExtraTreesRegressor(10, random_state=s), x, y, tests, truth),
        "extra_bootstrap": ensemble(lambda s: ExtraTreesRegressor(10, bootstrap=True, random_state=s), x, y, tests, truth),
    },
}
Path(__file__).with_suffix(".json").write_text(json.dumps(result) + "\n")
print({name: value for name, value in result["forests"].items() if isinstance(value, dict)})
