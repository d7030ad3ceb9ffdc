"""A run of a Rust optimiser in a process of its own (`benchmarks/peers/rust`), seen as an `Optimizer`. Loss goes in, a point comes out.

The program is $LUTHIER_PEERS/rust/release/luthier-bench-peers, which `benchmarks/peers/install.sh` builds.
"""

import json
import os
import subprocess

from .base import PEERS
from .base import Optimizer as Base

PROGRAM = PEERS / "rust" / "release" / "luthier-bench-peers"
if not PROGRAM.exists():
    raise ImportError(f"{PROGRAM} is not built; run benchmarks/peers/install.sh rust")


class Run(Base):
    """`package` is set by the optimiser's file."""

    package = None

    def __init__(self, space, objectives, seed, budget_trials, variant):
        self.space = space
        self.sign = 1.0 if objectives[0]["direction"] == "min" else -1.0
        # Rayon would use all cores.
        environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
        self.child = subprocess.Popen(
            [PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.send({"package": self.package, "variant": variant, "seed": seed, "trials": budget_trials, "space": entries(space)})

    def send(self, message):
        self.child.stdin.write(json.dumps(message) + "\n")
        self.child.stdin.flush()

    def ask(self):
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(self.child.stderr.read().strip().split("\n")[-1])
        answer = json.loads(line)
        self.cpu_elsewhere = answer["cpu"]
        return {p["name"]: plain(p, value) for p, value in zip(self.space, answer["point"]) if value is not None}

    def tell(self, params, values, constraints=()):
        self.send(None if values is None else self.sign * values[0])

    def __del__(self):
        if hasattr(self, "child"):
            self.child.kill()
            self.child.wait()


def entries(space):
    places = {parameter["name"]: place for place, parameter in enumerate(space)}
    listed = []
    for parameter in space:
        entry = {"kind": parameter["type"], "log": parameter.get("log", False)}
        entry["low"], entry["high"] = ends(parameter)
        if "condition" in parameter:
            parent = places[parameter["condition"]["parent"]]
            entry["condition"] = [parent, [space[parent]["choices"].index(value) for value in parameter["condition"]["values"]]]
        listed.append(entry)
    return listed


def ends(parameter):
    return (0, len(parameter["choices"]) - 1) if "choices" in parameter else (parameter["low"], parameter["high"])


def plain(parameter, value):
    if "choices" in parameter:
        return parameter["choices"][int(value)]
    return int(value) if parameter["type"] == "int" else value
