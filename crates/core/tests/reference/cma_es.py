"""Writes cma_es.json: what the package cmaes makes of given points and ranks, for the tests of Luthier's CMA-ES.

    pip install cmaes==0.13.1 numpy && python cma_es.py

Each case is a strategy with its start, and for each of 30 generations the points it ranked (best first, as drawn),
and after some of them the distribution. Points are drawn by cmaes, so both implementations learn from the same ones; all continuous
coordinates lie in the unit interval, so that no rule for bounds takes part. Cells of the unit interval stand for integers,
as many on each axis: cmaes pads shorter lists with their last value, which takes that value for a threshold.
"""

import json
import pathlib

import cmaes
import numpy as np
from cmaes import CMA, CatCMAwM, SepCMA, get_warm_start_mgd

GENERATIONS = 30
# The state is written down after these; every one would make the file large.
WRITTEN = (1, 2, 3, 10, 20, 30)


def rounded(x):
    return np.asarray(x, dtype=float).tolist()


def ellipsoid(x):
    n = len(x)
    target = 0.3 + 0.4 * np.arange(n) / n
    return float(sum(100 ** (k / max(1, n - 1)) * (x[k] - target[k]) ** 2 for k in range(n)) + 3 * (x[0] - x[-1]) ** 2)


def plain(name, optimizer, mean, sigma, cov=None, noise=0.0):
    rng = np.random.RandomState(7)
    generations = []
    for _ in range(GENERATIONS):
        points = []
        for _ in range(optimizer.population_size):
            x = np.round(optimizer.ask(), 6)  # six digits keep the file small
            points.append((x, ellipsoid(x) + noise * rng.randn()))
        points.sort(key=lambda p: p[1])
        optimizer.tell(list(points))
        after = {
            "mean": rounded(optimizer._mean),
            "sigma": float(optimizer._sigma),
            "covariance": rounded(optimizer._C.ravel()),
            "step_path": rounded(optimizer._p_sigma),
            "path": rounded(optimizer._pc),
        }
        if getattr(optimizer, "_lr_adapt", False):
            after["rates"] = [float(optimizer._eta_mean), float(optimizer._eta_Sigma)]
        written = after if len(generations) + 1 in WRITTEN else None
        generations.append({"points": [rounded(x) for x, _ in points], "after": written})
    start = {"mean": rounded(mean), "sigma": sigma, "covariance": None if cov is None else rounded(cov.ravel())}
    return {"name": name, "start": start, "population": optimizer.population_size, "generations": generations}


def mixed(name, continuous, cells, choices, seed):
    middles = [[(k + 0.5) / count for k in range(count)] for count in cells]
    n = continuous + len(cells)
    # Off the thresholds between cells, where rounding decides.
    mean = np.full(n, 0.5) + 0.013 * np.arange(1, n + 1)
    spaces = {}
    if continuous:
        spaces["x_space"] = [[0.0, 1.0]] * continuous
    if cells:
        spaces["z_space"] = middles
    if choices:
        spaces["c_space"] = choices
    if n:
        spaces |= {"mean": mean.copy(), "sigma": 1.0, "cov": np.diag(np.full(n, 0.1**2))}
    optimizer = CatCMAwM(seed=seed, **spaces)

    def loss(s):
        value = 0.0
        if continuous:
            value += 10 * float(np.sum((s.x - 0.45) ** 2))
        if cells:
            # The last integer wants the end of its range.
            value += float(np.sum((s.z[:-1] - 0.3) ** 2)) + (s.z[-1] - 1.0) ** 2
        for k in range(len(choices)):
            value += 0.2 * abs(int(np.argmax(s.c[k])) - 1)
        return value

    generations = []
    for _ in range(GENERATIONS):
        points = []
        while len(points) < optimizer.population_size:
            s = optimizer.ask()
            if s._v_raw is not None:
                v = np.round(s._v_raw, 6)
                x = v[:continuous] if continuous else None
                z = optimizer._discretization(v[continuous:]) if cells else None
                s = CatCMAwM.Solution(x, z, s.c, v)
            inside = not continuous or bool(np.all((s._v_raw[:continuous] >= 0) & (s._v_raw[:continuous] <= 1)))
            if inside:
                points.append((s, loss(s)))
        points.sort(key=lambda p: p[1])
        rows = []
        for s, _ in points:
            middle = ([] if s.x is None else list(s.x)) + ([] if s.z is None else list(s.z))
            rows.append({
                "latent": [] if s._v_raw is None else rounded(s._v_raw),
                "middle": rounded(middle),
                "choices": [] if s.c is None else [int(np.argmax(c)) for c in s.c],
            })
        optimizer.tell(list(points))
        after = {}
        if n:
            after |= {
                "mean": rounded(optimizer._mean),
                "sigma": float(optimizer._sigma),
                "covariance": rounded(optimizer._C.ravel()),
                "step_path": rounded(optimizer._p_sigma),
                "path": rounded(optimizer._pc),
                "stretch": rounded(optimizer._A),
            }
        if choices:
            after["probabilities"] = [rounded(optimizer._q[i, :k]) for i, k in enumerate(choices)]
            after["trust"] = float(optimizer._Delta)
        generations.append({"points": rows, "after": after if len(generations) + 1 in WRITTEN else None})
    return {
        "name": name, "continuous": continuous, "cells": cells, "choices": choices, "mean": rounded(mean),
        "variance": 0.1**2, "population": optimizer.population_size, "generations": generations,
    }


def constants():
    rows = []
    for n in (1, 2, 5, 10, 40):
        for population in (None, 4, 7, 30, 200):
            optimizer = CMA(mean=np.zeros(n), sigma=1.0, population_size=population)
            rows.append({
                "n": n, "population": optimizer.population_size, "usual": population is None,
                "weights": rounded(optimizer._weights), "mu_eff": float(optimizer._mu_eff),
                "rates": rounded([optimizer._c1, optimizer._cmu, optimizer._c_sigma, optimizer._d_sigma,
                                  optimizer._cc, optimizer._chi_n]),
            })
    return rows


def warm():
    rng = np.random.RandomState(3)
    cases = []
    for n, count in ((2, 40), (6, 30), (6, 100)):
        points = rng.rand(count, n)
        losses = [ellipsoid(x) for x in points]
        mean, sigma, cov = get_warm_start_mgd(list(zip(points, losses)))
        order = np.argsort(losses)[: count // 10]
        cases.append({"points": rounded(points[order]), "mean": rounded(mean), "sigma": sigma,
                      "covariance": rounded(cov.ravel())})
    return cases


def made():
    plains = []
    for n in (2, 5, 10):
        mean = np.full(n, 0.5)
        plains.append(plain(f"CMA in {n}", CMA(mean=mean.copy(), sigma=0.1, seed=n), mean, 0.1))
    mean, rng = np.full(4, 0.45), np.random.RandomState(1)
    root = rng.randn(4, 4) / 3 + np.eye(4)
    cov = root @ root.T
    plains.append(plain("CMA with a shape", CMA(mean=mean.copy(), sigma=0.05, seed=9, cov=cov.copy()), mean, 0.05, cov))
    learning = CMA(mean=mean.copy(), sigma=0.1, seed=5, lr_adapt=True)
    plains.append(plain("learning rates", learning, mean, 0.1, noise=0.3))
    separable = SepCMA(mean=np.full(8, 0.5), sigma=0.1, seed=2)
    return {
        "cmaes": cmaes.__version__,
        "constants": constants(),
        "plain": plains,
        "separable": plain("separable", separable, np.full(8, 0.5), 0.1),
        "mixed": [
            mixed("integers", 0, [9, 9, 9], [], 1),
            mixed("numbers and integers", 3, [21, 21], [], 2),
            mixed("everything", 3, [5, 5], [3, 2, 6], 3),
            mixed("choices", 0, [], [3, 4, 2], 4),
            mixed("numbers and choices", 4, [], [5, 3], 5),
        ],
        "warm": warm(),
    }


if __name__ == "__main__":
    text = json.dumps(made(), indent=None, separators=(",", ":"))
    pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")
