"""Runs driven to divergence by a script, watched by `luthier babysit`: where they end beside the same run left alone.

    cargo build --release -p luthier-cli
    python3 benchmarks/babysit/run.py

A network of 16 units learns rings of three classes with Adam at a rate of 0.01. A script multiplies the rate by 300 or 1,000 at an early or a later
epoch; nothing else is said, so that only the default rules bring the run back. Each study is replayed too: a fresh model along its schedule. The
table goes to stdout, all figures to --out. Only the standard library is needed.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
STUDY = """\
seed = {seed}
[network.data]
file = "rings.csv"
[network.settings]
epochs = {epochs}
batch_size = 32
units = 16
[params.learning_rate]
type = "float"
low = 1e-5
high = 10.0
scale = "log"
default = 0.01
"""
LOG = "study.babysit.luthier"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--luthier", type=pathlib.Path, default=REPOSITORY / "target/release/luthier", help="the program")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--out", type=pathlib.Path, default=HERE / "results.json")
    options = arguments.parse_args()
    runs = []
    for epochs in (80, 150):
        for seed in range(options.seeds):
            alone = watched(options.luthier, epochs, seed, None)["loss"]
            for epoch in (10, 40):
                for factor in (300, 1000):
                    run = watched(options.luthier, epochs, seed, f"at epoch {epoch}: learning_rate *{factor}\n")
                    runs.append({"epochs": epochs, "seed": seed, "at": epoch, "factor": factor, "alone": alone, **run})
            print(f"{epochs} epochs, seed {seed}: alone {alone:.6g}", file=sys.stderr, flush=True)
    options.out.write_text(json.dumps(runs, indent=1) + "\n")
    print("| epochs | rate | at epoch | loss left alone, mean | loss at the end, mean | furthest from it | worst on the way | replays the same |")
    print("|---|---|---|---|---|---|---|---|")
    for epochs in (80, 150):
        for epoch in (10, 40):
            for factor in (300, 1000):
                own = [run for run in runs if (run["epochs"], run["at"], run["factor"]) == (epochs, epoch, factor)]
                alone, loss = (sum(run[key] for run in own) / len(own) for key in ("alone", "loss"))
                furthest = max(abs(run["loss"] / run["alone"] - 1) for run in own)
                worst = max(run["worst"] for run in own)
                same = sum(run["replays"] for run in own)
                print(f"| {epochs} | × {factor} | {epoch} | {alone:.5f} | {loss:.5f} | {100 * furthest:.2g} % | {worst:.3g} | {same} of {len(own)} |")


def watched(luthier, epochs, seed, script):
    """The last loss of the line that was followed, the largest on any line, and whether a replay has the same curve."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "study.toml").write_text(STUDY.format(seed=seed, epochs=epochs))
        (folder / "rings.csv").write_text(rings(240))
        said = ["babysit", "study.toml", "--quiet"]
        if script:
            (folder / "turns.txt").write_text(script)
            said += ["--script", "turns.txt"]
        told(luthier, folder, *said)
        listed = [json.loads(line) for line in told(luthier, folder, "trials", LOG, "--json", "--limit", "0").splitlines()]
        trials = [json.loads(told(luthier, folder, "show", LOG, "--trial", trial["trial"], "--json")) for trial in listed]
        last = [trial for trial in trials if trial["state"] == "completed"][-1]
        losses = [point["val_loss"] for trial in trials for point in trial["curve"] if finite(point.get("val_loss"))]
        replay = told(luthier, folder, "replay", LOG, "--out", "replay") if script else ""
        return {
            "loss": last["curve"][-1]["val_loss"],
            "epoch": last["curve"][-1]["step"],
            "trials": len(trials),
            "worst": max(losses),
            "replays": "the curve is that of the study" in replay,
        }


def finite(x):
    return isinstance(x, (int, float)) and math.isfinite(x)


def told(luthier, folder, *words):
    done = subprocess.run([luthier, *map(str, words)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"luthier {' '.join(map(str, words))}: {done.stderr}")
    return done.stdout + done.stderr


def rings(rows):
    """Spirals of three classes, which a network does not learn at once."""
    lines = ["x,y,ring"]
    for i in range(rows):
        angle, radius = i * 0.7, i % 3 + 0.3 * math.sin(i * 1.3)
        lines.append(f"{radius * math.cos(angle)},{radius * math.sin(angle)},r{i % 3}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
