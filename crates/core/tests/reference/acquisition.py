"""Acquisitions to full precision, by mpmath: prints acquisition.json.

Logarithms of improvements and probabilities follow from their definitions in 2,000-digit arithmetic. The expected
hypervolume improvement is summed by inclusion and exclusion over subsets of the front, which shares no step with
the boxes of the implementation: the gain is the integral of P(Y <= z) over what is below the reference point, less that over
what the front dominates.

Run: python3 acquisition.py > acquisition.json
"""

import itertools
import json

from mpmath import erfc, exp, log, mp, mpf, pi, sqrt

mp.dps = 2000


def density(z):
    return exp(-z * z / 2) / sqrt(2 * pi)


def below(z):
    return erfc(-z / sqrt(2)) / 2


def improvement(mean, deviation, best):
    z = (best - mean) / deviation
    return deviation * (density(z) + z * below(z))


def ei_case(z, deviation):
    mean, best = mpf(0.25), mpf(0.25) + mpf(z) * mpf(deviation)
    at = {"mean": 0.25, "deviation": deviation, "best": float(best)}
    z = (mpf(at["best"]) - mean) / mpf(deviation)
    return at | {
        "log_ei": float(log(improvement(mean, mpf(deviation), mpf(at["best"])))),
        "log_pi": float(log(below(z))),
    }


def ehvi(front, reference, beliefs):
    psi = [lambda a, m=m, s=s: improvement(mpf(m), mpf(s), mpf(a)) for m, s in beliefs]
    total = mpf(1)
    for k, r in enumerate(reference):
        total *= psi[k](r)
    for size in range(1, len(front) + 1):
        for subset in itertools.combinations(front, size):
            corner = [max(column) for column in zip(*subset)]
            product = mpf(1)
            for k, r in enumerate(reference):
                product *= psi[k](r) - psi[k](corner[k])
            total += (-1) ** size * product
    return float(log(total))


FRONTS = [
    ([[0.0, 3.0], [1.0, 1.0], [3.0, 0.5]], [4.0, 4.0]),
    ([], [1.0, 1.0]),
    ([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5], [0.9, 0.2, 0.3], [0.3, 0.6, 0.1], [0.2, 0.8, 0.7]], [1.0, 1.2, 1.1]),
    ([[0.1, 0.9, 0.5, 0.4], [0.5, 0.5, 0.5, 0.5], [0.9, 0.2, 0.3, 0.6], [0.3, 0.6, 0.6, 0.1]], [1.0, 1.0, 1.0, 1.0]),
]
SHIFTS = [(-0.5, 0.3), (0.4, 0.5), (1.0, 0.1), (2.5, 0.05)]


def hypervolume_case(front, reference, mean, deviation):
    beliefs = [(mean + 0.1 * k, deviation * (1 + 0.2 * k)) for k in range(len(reference))]
    return {"front": front, "reference": reference, "beliefs": beliefs, "log": ehvi(front, reference, beliefs)}


print(
    json.dumps(
        {
            "improvement": [
                ei_case(z, s)
                for z in [-50.0, -37.0, -20.01, -19.99, -8.0, -1.01, -0.99, -0.3, 0.0, 0.5, 4.0, 30.0]
                for s in [1.0, 1e-3]
            ],
            "hypervolume": [hypervolume_case(f, r, m, s) for f, r in FRONTS for m, s in SHIFTS],
        },
        indent=0,
    )
)
