"""Reads the recorded and modelled results behind the problems: the reduced copy in `../data`, or, if LUTHIER_HPO_DATA
names a folder, the full collection it was made from (see `../data/README.md`). `../data/reduce.py` makes the reduced copy with these
same functions, so both give the same problems."""

import csv
import gzip
import json
import lzma
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent.parent / "data"


def full_collection():
    """The folder of the full collection, or None."""
    named = os.environ.get("LUTHIER_HPO_DATA")
    return Path(named) if named else None


def read_json(path):
    return json.loads(Path(path).read_text())


@lru_cache(None)
def suite():
    """The tasks with their metric, direction, best known value and the median of random search."""
    root = full_collection()
    return read_json((root or HERE) / "suite.json")


@lru_cache(None)
def yahpo(scenario):
    """(spec, bytes of the ONNX model)."""
    root = full_collection()
    if root:
        folder = root / "yahpo" / scenario
        return read_json(folder / "spec.json"), (folder / "model.onnx").read_bytes()
    folder = HERE / "yahpo"
    return read_json(folder / f"{scenario}.json"), lzma.decompress((folder / f"{scenario}.onnx.xz").read_bytes())


@lru_cache(None)
def table(model):
    """(description, main metric as float32 [configuration, seed], training seconds as float32 [configuration])."""
    root = full_collection()
    if root:
        spec = read_json(root / "tables" / f"{model}.json")
        array = np.load(root / "tables" / f"{model}.npy")
        seconds = np.nanmean(array[:, spec["metrics"].index("train_time")], axis=1)
        # Two digits of seconds are enough: they only tell dear configurations from cheap ones.
        return spec, array[:, spec["metrics"].index(spec["main"])], seconds.astype(np.float16).astype(np.float32)
    with np.load(HERE / "tables" / f"{model}.npz") as kept:
        return read_json(HERE / "tables" / f"{model}.json"), kept["values"], kept["seconds"].astype(np.float32)


@lru_cache(None)
def curves(model):
    """(configurations float64 [1000, 8], validation loss float32 [1000, 51]); NaN is diverged."""
    root = full_collection()
    if root:
        return np.load(root / "curves" / "configs.npy"), np.load(root / "curves" / f"{model}.npy")[:, 1]
    return np.load(HERE / "curves" / "configs.npy"), np.load(HERE / "curves" / f"{model}.npz")["valid_loss"]


@lru_cache(None)
def pool(model):
    """(names of the columns, configurations float64 [5000, columns], error float32 [5000])."""
    root = full_collection()
    if root:
        with gzip.open(root / "pool" / f"xgboost_{model}.csv.gz", "rt") as file:
            rows = list(csv.reader(file))
        cells = np.array(rows[1:], dtype=float)
        return rows[0][:-1], cells[:, :-1], cells[:, -1].astype(np.float32)
    with np.load(HERE / "pool" / f"{model}.npz") as kept:
        return [str(name) for name in kept["names"]], kept["configs"].astype(float), kept["error"]


@lru_cache(None)
def trees():
    """Four boosted models as lists of (base score, trees); a tree is (feature, threshold, left, right, leaf value) arrays."""
    root = full_collection()
    if root:
        return [boosted(read_json(root / "trees" / f"mnist_xgb_model_{i}.json")) for i in range(4)]
    with lzma.open(HERE / "trees.json.xz", "rt") as file:
        return json.load(file)


def boosted(model):
    """What a prediction needs of an XGBoost model's JSON."""
    learner = model["learner"]
    kept = []
    for tree in learner["gradient_booster"]["model"]["trees"]:
        kept.append([tree["split_indices"], tree["split_conditions"], tree["left_children"], tree["right_children"]])
    return [float(learner["learner_model_param"]["base_score"]), kept]
