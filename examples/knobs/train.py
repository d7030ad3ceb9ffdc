"""Descends on a valley with momentum, and takes its learning rate and momentum anew after each step.

Nothing but Python's own library. What matters for `luthier babysit` is in `knobs` and `save`.
"""

import json
import math
import os
import random
import sys
from pathlib import Path

CHECKPOINT = Path(os.environ.get("LUTHIER_CHECKPOINT", "checkpoint"))
STEPS = int(os.environ.get("LUTHIER_BUDGET", 60))


def first_knobs():
    """The knobs it is started with."""
    return {
        "lr": float(os.environ.get("LUTHIER_PARAM_LR", 0.02)),
        "momentum": float(os.environ.get("LUTHIER_PARAM_MOMENTUM", 0.5)),
    }


def next_knobs(now):
    """The knobs to go on with: the line that Luthier writes after each report. Without Luthier they stay."""
    if os.environ.get("LUTHIER_KNOBS") != "-":
        return now
    line = sys.stdin.readline()
    return json.loads(line)["params"] if line else now


def save(state):
    """To another name and renamed, so that there is always a whole one."""
    CHECKPOINT.mkdir(parents=True, exist_ok=True)
    new = CHECKPOINT / "state.json.new"
    new.write_text(json.dumps(state))
    new.replace(CHECKPOINT / "state.json")


def load():
    """Where it was, or the beginning."""
    saved = CHECKPOINT / "state.json"
    return json.loads(saved.read_text()) if saved.exists() else {"step": 0, "x": [4.0, 2.0], "v": [0.0, 0.0]}


def loss(x):
    """A narrow valley; finite as long as x is."""
    return 0.5 * (x[0] ** 2 + 25.0 * x[1] ** 2)


def step_from(state, knobs):
    """One step down a slope that is known with a little noise."""
    chance = random.Random(state["step"])
    slope = [state["x"][0] + chance.gauss(0, 0.01), 25.0 * state["x"][1] + chance.gauss(0, 0.01)]
    v = [knobs["momentum"] * v - knobs["lr"] * g for v, g in zip(state["v"], slope)]
    return {"step": state["step"] + 1, "x": [x + w for x, w in zip(state["x"], v)], "v": v}


def main():
    """Trains to the budget; saves before it reports, and takes the knobs after that."""
    state, knobs = load(), first_knobs()
    while state["step"] < STEPS:
        state = step_from(state, knobs)
        save(state)
        value = loss(state["x"])
        # The knobs it used: so Luthier sees that they were heard.
        report = {"step": state["step"], "loss": value if math.isfinite(value) else float("nan"), **knobs}
        print(json.dumps(report), flush=True)
        knobs = next_knobs(knobs)


main()
