"""Writes restarts.json: populations of the searches that follow one another, for the test of Luthier's CMA-ES.

    pip install cma==4.5.0 && python restarts.py

`doubled`: the populations with which the package cma restarts on a constant loss in two dimensions (IPOP: Auger and
Hansen 2005).

`small`: for each large population, how the small ones beside it are distributed: u (large / (2 u))^(U²), rounded
down, for a uniform U and the usual population u (BIPOP: Hansen 2009, "Benchmarking a BI-population CMA-ES on the
BBOB-2009 function testbed"). DEAP's example of BIPOP has the same; the package cma leaves the 2 out.
"""

import json
import math
import pathlib

import cma

USUAL = 4


def doubled(restarts):
    populations = []
    # Told, because cma would double 4 + 3 ln 2 before it rounds it down.
    told = {"popsize": 6, "verbose": -9, "seed": 1}
    keep = lambda strategy: populations.append(strategy.popsize)
    cma.fmin2(lambda x: 0.0, [0.5, 0.5], 0.167, told, restarts=restarts, init_callback=keep)
    return populations


def small(large):
    """Mean and variance: a population is at least m with probability 1 − √(ln(m / u) / ln(large / (2 u)))."""
    most = large // 2

    def below(size):
        return min(math.sqrt(math.log(size / USUAL) / math.log(most / USUAL)), 1.0)

    chances = {size: below(size + 1) - below(size) for size in range(USUAL, most)} if most > USUAL else {USUAL: 1.0}
    assert math.isclose(sum(chances.values()), 1.0)
    mean = sum(size * chance for size, chance in chances.items())
    variance = sum((size - mean) ** 2 * chance for size, chance in chances.items())
    return {"large": large, "most": max(chances), "mean": mean, "variance": variance}


if __name__ == "__main__":
    sizes = [small(USUAL * 2**doublings) for doublings in range(1, 7)]
    found = {"version": cma.__version__, "doubled": doubled(4), "usual": USUAL, "small": sizes}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found, indent=1) + "\n")
