"""Reference numbers for the noisy expected improvement: numpy conditions a Gaussian process on its noisy rows, and then, for each draw of
the noise-free losses at some points, on those as well (Letham et al. 2019, eq. 3 and 4). The mean over many draws is checked against what
it estimates, the mean improvement of joint draws at the points and the candidate.

Run: python noisy_improvement.py > noisy_improvement.json   (numpy, scipy)
"""

import json

import numpy as np
from scipy import stats

rng = np.random.default_rng(11)
MEAN_VARIANCE = 1.0


def covariance(a, b, lengths, signal):
    r = np.sqrt((((a[:, None] - b[None, :]) / lengths) ** 2).sum(-1))
    t = np.sqrt(5) * r
    return signal * (1 + t + t * t / 3) * np.exp(-t) + MEAN_VARIANCE


def given(x, y, noise, asked, lengths, signal):
    """Mean and covariance of the noise-free loss at `asked`."""
    a = covariance(x, x, lengths, signal) + np.diag(noise)
    cross = covariance(asked, x, lengths, signal)
    solved = np.linalg.solve(a, cross.T)
    return solved.T @ y, covariance(asked, asked, lengths, signal) - cross @ solved


def improvement(mean, deviation, best):
    z = (best - mean) / deviation
    return deviation * (stats.norm.pdf(z) + z * stats.norm.cdf(z))


def noisy_improvement(case, asked, draws):
    """The mean over draws of the improvement expected by a model that believes the draw; one for each asked point."""
    x, y, noise, points, lengths, signal = (case[k] for k in ("x", "y", "noise", "points", "lengths", "signal"))
    both = np.r_[x, points]
    # What is drawn is believed up to a share of 1e-8 of the variance, for the sake of arithmetic.
    variances = np.r_[noise, np.full(len(points), 1e-8 * (signal + MEAN_VARIANCE))]
    total = np.zeros(len(asked))
    for draw in draws:
        mean, spread = given(both, np.r_[y, draw], variances, asked, lengths, signal)
        total += improvement(mean, np.sqrt(np.diag(spread)), draw.min())
    return total / len(draws)


def joint_draws(mean, spread, n):
    values, vectors = np.linalg.eigh(spread)
    return mean + rng.normal(size=(n, len(mean))) * np.sqrt(values.clip(0)) @ vectors.T


def case_of(rows, dimensions, noise):
    x = rng.uniform(size=(rows, dimensions))
    y = np.sin(6 * x[:, 0]) + x[:, -1] + np.sqrt(noise) * rng.normal(size=rows)
    y = (y - y.mean()) / y.std()
    lengths, signal = rng.uniform(0.2, 0.6, size=dimensions), 0.8
    points = x[np.argsort(y)[:4]]
    case = {"x": x, "y": y, "noise": np.full(rows, noise), "points": points, "lengths": lengths, "signal": signal}
    asked = np.r_[rng.uniform(size=(5, dimensions)), points[1:2] + 0.03]
    mean, spread = given(x, y, case["noise"], points, lengths, signal)
    draws = joint_draws(mean, spread, 6)
    check(case, asked)
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in case.items()} | {
        "draws": draws.tolist(),
        "asked": asked.tolist(),
        "log": np.log(noisy_improvement(case, asked, draws)).tolist(),
    }


def check(case, asked):
    """Many draws come to the mean improvement of joint draws."""
    every = np.r_[case["points"], asked]
    mean, spread = given(case["x"], case["y"], case["noise"], every, case["lengths"], case["signal"])
    drawn, q = joint_draws(mean, spread, 400_000), len(case["points"])
    gains = (drawn[:, :q].min(1)[:, None] - drawn[:, q:]).clip(0)
    found = noisy_improvement(case, asked, joint_draws(mean[:q], spread[:q, :q], 4_000))
    error = gains.std(0) / np.sqrt(len(gains)) + found / 25 + 1e-5
    assert np.all(np.abs(found - gains.mean(0)) < 5 * error), (found, gains.mean(0), error)


print(json.dumps([case_of(8, 1, 0.05), case_of(12, 2, 0.3), case_of(15, 3, 1e-3)]))
