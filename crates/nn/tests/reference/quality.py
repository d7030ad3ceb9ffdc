"""Agreement and confidence intervals for tests/quality.rs: kappa written out with numpy from Fleiss (1971) where examples are
predicted equally often and from Gwet (2014) where not, quantiles of Student's t from scipy.

    python3 quality.py > quality.json      (needs numpy and scipy; made with 2.4.6 and 1.17.1)
"""
import json

import numpy as np
from scipy import stats

rng = np.random.default_rng(8)


def fleiss(table):
    """Fleiss' own formulas: N subjects, n ratings each."""
    N, n = len(table), table[0].sum()
    p = table.sum(axis=0) / (N * n)
    P = (table * table).sum(axis=1) / (n * (n - 1)) - 1 / (n - 1)
    return (P.mean() - (p**2).sum()) / (1 - (p**2).sum()), P.mean()


def gwet(table):
    """Ratings may be missing."""
    n = table.sum(axis=1)
    table, n = table[n >= 2], n[n >= 2]
    agree = np.mean([row @ (row - 1) / (m * (m - 1)) for row, m in zip(table, n)])
    pi = (table / n[:, None]).mean(axis=0)
    return (agree - (pi**2).sum()) / (1 - (pi**2).sum()), agree


def case(examples, replicates, classes, missing):
    truth = rng.integers(classes, size=examples)
    said = []
    for _ in range(replicates):
        answers = np.where(rng.random(examples) < 0.7, truth, rng.integers(classes, size=examples))
        kept = np.flatnonzero(rng.random(examples) >= missing)
        said.append({"examples": kept.tolist(), "answers": answers[kept].tolist()})
    table = np.zeros((examples, classes))
    for replicate in said:
        for example, answer in zip(replicate["examples"], replicate["answers"]):
            table[example, answer] += 1
    kappa, agreement = gwet(table)
    if not missing:
        own, _ = fleiss(table)
        assert abs(own - kappa) < 1e-12
        kappa = own
    return {"truth": truth.tolist(), "said": said, "kappa": kappa, "agreement": agreement}


def interval(values, test_per_train):
    n, mean, sd = len(values), np.mean(values), np.std(values, ddof=1)
    se = sd * np.sqrt(1 / n + test_per_train)
    low, high = stats.t.interval(0.95, n - 1, mean, se)
    return {
        "values": values,
        "test_per_train": test_per_train,
        "mean": mean,
        "standard_deviation": sd,
        "standard_error": se,
        "low": low,
        "high": high,
        "bound": stats.t.ppf(0.95, n - 1, mean, se),
    }


print(json.dumps({
    "agreement": [case(30, 4, 3, 0), case(25, 10, 2, 0), case(40, 6, 4, 0.4), case(40, 3, 3, 0.5)],
    "intervals": [
        interval(rng.normal(3, 0.5, n).tolist(), share)
        for n, share in [(2, 0.0), (5, 0.0), (5, 0.25), (10, 1 / 9), (50, 0.25), (31, 0.0)]
    ],
}))
