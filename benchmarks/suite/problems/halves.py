"""The rule behind `split.json`: which tasks Luthier is developed against, and which are held back for the report. `python3 -m
problems.halves`, run in `benchmarks/suite`, writes the file; a test holds the two together."""

import json

from . import SPLIT, SUITE, load

CORE = [
    "lcbench-167168-val_accuracy", "lcbench-189873-val_accuracy", "lcbench-189906-val_accuracy", "lcbench-189862-val_cross_entropy",
    "rbv2_xgboost-12-acc", "rbv2_xgboost-16-acc", "rbv2_xgboost-1501-acc", "rbv2_rpart-14-acc",
    "hpobench_vehicle", "hpobench_kc1", "hpolib_protein_structure", "nasbench201_cifar100",
]  # fmt: skip

RULE = """Within each family the tasks of the core stand first, the others follow in the order of suite.json, and they go in turn to \
the two halves. The first of a family goes to the half named under "first", chosen so that the halves and their parts of the core have \
equal numbers."""

FIRST = {
    "lcbench": "development",
    "rbv2_xgboost": "development",
    "rbv2_rpart": "held_back",
    "tables": "held_back",
    "curves": "development",
    "pool": "development",
    "trees": "held_back",
}


def halves():
    split = {"rule": RULE, "first": FIRST, "core": CORE, "development": [], "held_back": []}
    families = {}
    for name in CORE + [name for name in SUITE if name not in CORE]:
        families.setdefault(load(name).family, []).append(name)
    for family, first in FIRST.items():
        other = "held_back" if first == "development" else "development"
        split[first] += families[family][::2]
        split[other] += families[family][1::2]
    return split


if __name__ == "__main__":
    SPLIT.write_text(json.dumps(halves(), indent=1) + "\n")
