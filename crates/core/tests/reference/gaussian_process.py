"""Reference numbers for Gaussian processes: beliefs and likelihoods from scikit-learn, the highest posterior density from
scipy's L-BFGS-B from many starts, power transforms from scipy.

Run: python gaussian_process.py > gaussian_process.json   (numpy, scipy, scikit-learn)
"""

import json

import numpy as np
from scipy import optimize, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

rng = np.random.default_rng(7)
MEAN_VARIANCE = 1.0


def features(space, units):
    """Columns and kinds: numbers as themselves (imputed as ½), choices as codes, one gate for all that hang on a choice."""
    columns, kinds = [], []
    for k, cells in enumerate(space["cells"]):
        u = units[:, k]
        missing = np.isnan(u)
        if cells == 0:
            columns.append(np.where(missing, 0.5, u))
            kinds.append("line")
        else:
            columns.append(np.where(missing, -1, np.floor(np.nan_to_num(u) * cells)))
            kinds.append("match")
    if space["hangs"]:
        columns.append(np.isnan(units[:, space["hangs"][0]]).astype(float))
        kinds.append("match")
    return np.array(columns), kinds


def distances(columns, kinds, others=None):
    others = columns if others is None else others
    parts = []
    for a, b, kind in zip(columns, others, kinds):
        difference = a[:, None] - b[None, :]
        parts.append(difference**2 if kind == "line" else 0.5 * (difference != 0))
    return np.array(parts)


def matern(squares):
    t = np.sqrt(5 * squares)
    return (1 + t + t * t / 3) * np.exp(-t)


def posterior(theta, parts, y, errors, active):
    """-ln(likelihood × prior) and its gradient by the logarithms of lengths, signal, noise."""
    d = len(parts)
    lengths, signal, noise = np.exp(theta[:d]), np.exp(theta[d]), np.exp(theta[d + 1])
    weighted = parts / lengths[:, None, None] ** 2
    squares = weighted.sum(0)
    t = np.sqrt(5 * squares)
    correlation = signal * (1 + t + t * t / 3) * np.exp(-t)
    n = len(y)
    a = correlation + MEAN_VARIANCE + np.diag(noise + errors**2)
    try:
        factor = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    inverse = np.linalg.inv(a)
    alpha = inverse @ y
    value = -0.5 * y @ alpha - np.log(np.diag(factor)).sum() - 0.5 * n * np.log(2 * np.pi)
    pull = np.outer(alpha, alpha) - inverse
    slope = signal * 5 / 3 * (1 + t) * np.exp(-t)
    gradient = [0.5 * np.sum(pull * slope * part) for part in weighted]
    gradient += [0.5 * np.sum(pull * correlation), 0.5 * noise * np.trace(pull)]
    means = np.r_[np.full(d, np.sqrt(2) + 0.5 * np.log(active)), 1, -4]
    deviations = np.r_[np.full(d, np.sqrt(3)), 1, 1]
    z = (theta - means) / deviations
    value += np.sum(-0.5 * z * z - theta - np.log(deviations) - 0.5 * np.log(2 * np.pi))
    return -value, -(np.array(gradient) - z / deviations - 1)


def highest(parts, y, errors, active):
    d = len(parts)
    bounds = [(np.log(0.01), np.log(1e4))] * d + [(np.log(0.01), np.log(100)), (np.log(1e-6), np.log(2))]
    best = np.inf
    for start in range(40):
        spread = [rng.uniform(np.log(0.05), np.log(20), d), [rng.uniform(-2, 2)], [rng.uniform(-10, 0)]]
        found = optimize.minimize(
            posterior, np.concatenate(spread), args=(parts, y, errors, active), jac=True, bounds=bounds,
            method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-8},
        )
        best = min(best, found.fun)
    return -best


def standard(y):
    return (y - y.mean()) / y.std()



def tidy(array):
    return [[None if np.isnan(x) else float(x) for x in row] for row in np.atleast_2d(array)]


def points(space, n):
    units = rng.uniform(size=(n, len(space["cells"])))
    for k, cells in enumerate(space["cells"]):
        if cells:
            units[:, k] = (np.floor(units[:, k] * cells) + 0.5) / cells
    # What hangs does so on the first choice of the first parameter.
    for k in space["hangs"]:
        units[np.floor(units[:, 0] * space["cells"][0]) != 0, k] = np.nan
    return units


LOSSES = {
    "bowl": lambda u: np.sum((u - 0.3) ** 2 * np.arange(1, u.shape[1] + 1), axis=1),
    "waves": lambda u: np.sin(9 * u[:, 0]) + np.cos(5 * u[:, -1]) * u[:, 0],
    "steep": lambda u: np.exp(4 * u[:, 0] * u[:, -1]) + u.sum(1),
    "noise": lambda u: rng.normal(size=len(u)),
    "steps": lambda u: (u[:, 0] > 0.4) + 2.0 * (u[:, -1] > 0.7) + 0.2 * u[:, 0],
}


def model_case(name, cells, hangs, n, loss, noise, errors=0.0):
    space = {"cells": cells, "hangs": hangs}
    units = points(space, n)
    y = LOSSES[loss](np.where(np.isnan(units), 0.9, units)) + noise * rng.normal(size=n)
    deviation = y.std()
    known = errors * deviation * rng.uniform(0.5, 2, size=n) if errors else np.full(n, np.nan)
    columns, kinds = features(space, units)
    parts = distances(columns, kinds)
    active = np.mean([np.sum(~np.isnan(u)) for u in units])
    target, error = standard(y), np.nan_to_num(known) / deviation
    d = len(kinds)
    theta = np.r_[rng.uniform(np.log(0.2), np.log(2), d), 0.3, np.log(1e-2)]
    value, gradient = posterior(theta, parts, target, error, active)
    rises = optimize.approx_fprime(theta, lambda t: posterior(t, parts, target, error, active)[0], 1e-6)
    assert np.allclose(rises, gradient, rtol=1e-4, atol=1e-3)
    asked = points(space, 6)
    mean, spread = beliefs(theta, parts, kinds, columns, features(space, asked)[0], target, error)
    if all(kind == "line" for kind in kinds) and not hangs:
        check_against_sklearn(theta, units, target, error, asked, mean, spread)
    return {
        "name": name, "cells": cells, "hangs": hangs, "units": tidy(units), "losses": list(y),
        "errors": tidy(known)[0], "lengths": list(np.exp(theta[:d])), "signal": np.exp(theta[d]),
        "noise": np.exp(theta[d + 1]), "log_posterior": -value, "asked": tidy(asked), "mean": list(mean),
        "deviation": list(spread), "highest": highest(parts, target, error, active),
    }


def beliefs(theta, parts, kinds, columns, asked, y, error):
    d = len(kinds)
    weights = np.exp(-2 * theta[:d])[:, None, None]
    signal, noise = np.exp(theta[d]), np.exp(theta[d + 1])
    a = signal * matern((parts * weights).sum(0)) + MEAN_VARIANCE + np.diag(noise + error**2)
    cross = signal * matern((distances(asked, kinds, columns) * weights).sum(0)) + MEAN_VARIANCE
    inverse = np.linalg.inv(a)
    variance = signal + MEAN_VARIANCE - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    return cross @ inverse @ y, np.sqrt(variance)


def check_against_sklearn(theta, units, y, error, asked, mean, spread):
    d = units.shape[1]
    kernel = ConstantKernel(np.exp(theta[d])) * Matern(np.exp(theta[:d]), nu=2.5) + ConstantKernel(MEAN_VARIANCE)
    theirs = GaussianProcessRegressor(kernel, alpha=np.exp(theta[d + 1]) + error**2, optimizer=None).fit(units, y)
    their_mean, their_spread = theirs.predict(asked, return_std=True)
    assert np.allclose(their_mean, mean, atol=1e-9) and np.allclose(their_spread, spread, atol=1e-9)


def transform_case(name, y):
    y = np.asarray(y, dtype=float)
    scaled = y / stats.gmean(y) if y.min() > 0 else None
    centred = (y - np.median(y)) / y.std()
    gain = {}
    if scaled is not None:
        p = optimize.minimize_scalar(lambda p: -stats.boxcox_llf(p, scaled), bounds=(-5, 5), method="bounded",
                                     options={"xatol": 1e-10}).x
        gain["boxcox"] = (stats.boxcox_llf(p, scaled) - stats.boxcox_llf(1, scaled), p, stats.boxcox(scaled, p))
    p = optimize.minimize_scalar(lambda p: -stats.yeojohnson_llf(p, centred), bounds=(-5, 5), method="bounded",
                                 options={"xatol": 1e-10}).x
    gain["yeojohnson"] = (stats.yeojohnson_llf(p, centred) - stats.yeojohnson_llf(1, centred), p,
                          stats.yeojohnson(centred, p))
    kind = max(gain, key=lambda kind: gain[kind][0])
    by, power, values = gain[kind]
    if by < 2:
        kind, power, values = "linear", 1.0, y
    if len(y) >= 8:
        lower, upper = np.quantile(values, [0.25, 0.75])
        values = np.minimum(values, upper + 3 * (upper - lower))
    return {"name": name, "losses": list(y), "kind": kind, "power": power, "values": list(standard(values))}


models = [
    model_case("one float", [0], [], 8, "waves", 0.0),
    model_case("two floats", [0, 0], [], 15, "bowl", 0.0),
    model_case("three noisy floats", [0, 0, 0], [], 25, "bowl", 0.3),
    model_case("waves", [0, 0], [], 40, "waves", 0.05),
    model_case("steep", [0] * 4, [], 30, "steep", 0.0),
    model_case("steps", [0] * 3, [], 35, "steps", 0.01),
    model_case("pure noise", [0] * 4, [], 30, "noise", 0.0),
    model_case("eight floats", [0] * 8, [], 50, "bowl", 0.1),
    model_case("known errors", [0, 0], [], 20, "bowl", 0.2, errors=0.3),
    model_case("choices", [0, 3, 2, 5], [], 40, "steps", 0.05),
    model_case("only choices", [3, 4, 2], [], 24, "bowl", 0.05),
    model_case("conditional", [2, 0, 0, 3, 0], [1, 3], 40, "bowl", 0.02),
    model_case("conditional waves", [3, 0, 0], [2], 30, "waves", 0.1),
    model_case("few rows", [0] * 6, [], 5, "bowl", 0.0),
]
transforms = [
    transform_case("log-normal", np.exp(rng.normal(size=40) * 1.5)),
    transform_case("gamma", rng.gamma(2.0, size=60)),
    transform_case("normal", rng.normal(size=30)),
    transform_case("normal far from zero", 100 + rng.normal(size=30)),
    transform_case("skewed with both signs", rng.gamma(0.7, size=50) - 0.5),
    transform_case("left-skewed", 1 - rng.beta(1, 6, size=50) ** 2),
    transform_case("heavy tails", rng.standard_t(2, size=60)),
    transform_case("five", [0.1, 0.11, 0.13, 0.2, 3.0]),
]


print(json.dumps({"models": models, "transforms": transforms}))
