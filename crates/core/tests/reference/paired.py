"""Reference numbers for tests on paired differences: SciPy's signed-rank test and Student's t, and a simulation of the chance
that the mean over all replicates comes out below 0. Run: python3 paired.py > paired.json"""

import json

import numpy as np
from scipy import stats

rng = np.random.default_rng(20240521)
signed_rank = []
for n in [1, 2, 3, 4, 5, 7, 10, 12, 13, 14, 20, 50, 60]:
    for kind in range(4):
        d = rng.normal(0.3, 1.0, n)
        if kind == 1:
            d = np.round(d, 1)  # ties and zeros
        if kind == 2:
            d = np.abs(d)
        if kind == 3:
            d = np.where(rng.random(n) < 0.3, 0.0, np.round(d, 1))
        if np.all(d == 0):
            continue
        p = stats.wilcoxon(d, alternative="greater", zero_method="zsplit").pvalue
        signed_rank.append([[float(x) for x in d], float(p)])

student = [[float(t), float(v), float(stats.t.sf(t, v))] for v in [1, 2, 3.5, 8, 30] for t in [-3, -0.5, 0, 0.2, 1, 2.5, 6, 20]]

# The posterior under the prior 1/variance with (variance, freedom) lent: variance ~ scaled inverse chi-squared.
ahead = []
for differences, of, variance, freedom in [
    ([0.4], 5, 0.3, 8.0),
    ([0.4, 0.1], 5, 0.0, 0.0),
    ([0.4, 0.1], 5, 0.2, 6.0),
    ([0.5, -0.1, 0.3], 5, 0.2, 6.0),
    ([0.5, -0.1, 0.3, 0.9], 10, 0.1, 8.0),
    ([-0.5, 0.1], 5, 0.3, 4.0),
]:
    d = np.array(differences)
    n, total = len(d), freedom + len(d) - 1
    squares = freedom * variance + ((d - d.mean()) ** 2).sum()
    sigma2 = squares / rng.chisquare(total, 400_000)
    mu = d.mean() + np.sqrt(sigma2 / n) * rng.normal(size=sigma2.size)
    rest = mu + np.sqrt(sigma2 / (of - n)) * rng.normal(size=sigma2.size)
    final = (n * d.mean() + (of - n) * rest) / of
    ahead.append([differences, of, variance, freedom, float((final < 0).mean())])

print(json.dumps({"signed_rank": signed_rank, "student": student, "ahead": ahead}))
