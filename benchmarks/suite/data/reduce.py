"""Makes this folder from the full collection: `python3 reduce.py FOLDER`. Only what the problems use is kept; no number is
changed, but for the training seconds of tables, which keep three digits."""

import json
import lzma
import os
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def main(folder):
    os.environ["LUTHIER_HPO_DATA"] = folder
    from problems import source

    suite = source.suite()
    models = lambda kind: list(dict.fromkeys(task["model"] for task in suite if task["suite"] == kind))
    for name in ("yahpo", "tables", "curves", "pool"):
        (HERE / name).mkdir(exist_ok=True)
    write_json(HERE / "suite.json", suite)
    for name in models("yahpo"):
        spec, model = source.yahpo(name)
        write_json(HERE / "yahpo" / f"{name}.json", spec)
        (HERE / "yahpo" / f"{name}.onnx.xz").write_bytes(lzma.compress(model, preset=9 | lzma.PRESET_EXTREME))
    for name in models("tables"):
        spec, values, seconds = source.table(name)
        write_json(HERE / "tables" / f"{name}.json", spec)
        np.savez_compressed(HERE / "tables" / f"{name}.npz", values=values, seconds=seconds.astype(np.float16))
    for name in models("curves"):
        configs, losses = source.curves(name)
        np.save(HERE / "curves" / "configs.npy", configs)
        np.savez_compressed(HERE / "curves" / f"{name}.npz", valid_loss=losses)
    for name in models("pool"):
        names, configs, error = source.pool(name)
        np.savez_compressed(HERE / "pool" / f"{name}.npz", names=names, configs=configs, error=error)
    with lzma.open(HERE / "trees.json.xz", "wt") as file:
        json.dump(source.trees(), file)
    shutil.copy(Path(folder) / "yahpo" / "LICENSE", HERE / "yahpo" / "LICENSE")
    shutil.copy(Path(folder) / "trees" / "LICENSE", HERE / "LICENSE-trees")
    shutil.copy(Path(folder) / "yahpo" / "lcbench" / "LICENSE-2.0.txt", HERE / "LICENSE-APACHE-2.0")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
