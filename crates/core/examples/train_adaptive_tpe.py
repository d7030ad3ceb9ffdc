"""Evaluates points of the benchmark's development tasks for `train_adaptive_tpe.rs`, which starts it.

The first line it prints is a JSON list of the tasks: name, family, and the space as a study file has it. Then, for each line
`[task, params]` on standard input, it prints the normalised regret of that point (0 is the best known, 1 the median of random ones).
"""

import json
import os
import sys
import warnings
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[variable] = "1"
warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "suite"))

import problems


def main():
    tasks = [problems.load(name) for name in problems.names("development")]
    said = [{"name": task.name, "family": task.family, "params": params_of(task.space)} for task in tasks]
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        number, params = json.loads(line)
        task = tasks[number]
        values = task.evaluate(params)["values"]
        print(task.normalised_regret(values and values[0]), flush=True)


def params_of(space):
    return {parameter["name"]: param_of(parameter) for parameter in space}


def param_of(parameter):
    kept = {key: parameter[key] for key in ("type", "low", "high", "step", "choices") if parameter.get(key) is not None}
    if parameter["type"] == "ordinal":
        kept["levels"] = kept.pop("choices")
    if parameter.get("log"):
        kept["scale"] = "log"
    if condition := parameter.get("condition"):
        kept["when"] = {"param": condition["parent"], "in": condition["values"]}
    return kept


main()
