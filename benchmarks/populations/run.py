"""Schedules that populations find, beside the best constant setting that random search finds with as many epochs.

    cargo build --release -p luthier-cli
    PYTHON_WITH_NUMPY benchmarks/populations/run.py --data FOLDER [--seeds 0-4] [--out benchmarks/populations/results.json]

The learning rate of a small network on a part of Fashion-MNIST (Xiao et al. 2017, MIT licence; FOLDER holds the usual four files,
`train-images-idx3-ubyte.gz` and so on). `pbt`, its members waiting for each other or, on two workers, not, and `pb2`, whose populations of 4 follow each
other, as they are by default: 16 members of 20 epochs. Random search tries constant values, with the epochs that `pbt` used, begun trials being
finished; `cosine` is random search too, but every trial's learning rate falls, which says what a schedule is worth here. For each seed other 8,000 images are trained on, 2,000 choose, and the 10,000 test images measure the winner's own
model once. Runs that are in the file are not made again.
"""

import argparse
import gzip
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEMBERS, EPOCHS, ROWS = 16, 20, 10_000
# Name: scheduler, members or trials at most, changed lines of the study file, and workers.
CONTENDERS = {
    "pbt": ('{ name = "pbt", synchronous = true }', MEMBERS, {}, 1),
    "pbt, nobody waits": ('{ name = "pbt" }', MEMBERS, {}, 2),
    "pb2": ('{ name = "pb2" }', MEMBERS, {}, 1),
    "pb2 of 16": ('{ name = "pb2", population = 16 }', MEMBERS, {}, 1),
    "random": ('"run_all"', 1000, {}, 1),
    "random, cosine": ('"run_all"', 1000, {'schedule = "constant"': 'schedule = "cosine"'}, 1),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--only", help="names of contenders, separated by semicolons")
    parser.add_argument("--luthier", type=Path, default=HERE.parent.parent / "target/release/luthier")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    first, last = (options.seeds.split("-") * 2)[:2]
    seeds = [str(seed) for seed in range(int(first), int(last) + 1)]
    names = options.only.split(";") if options.only else list(CONTENDERS)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                if seed in found.setdefault(name, {}):
                    continue
                if not (Path(folder) / "fashion.npz").exists():
                    images(options.data, Path(folder), int(seed))
                # What random search gets: the epochs that `pbt` used, some of whose members fail early.
                steps = found.get("pbt", {}).get(seed, {}).get("epochs", MEMBERS * EPOCHS)
                found[name][seed] = luthier(options.luthier.resolve(), Path(folder), name, seed, steps)
                options.out.write_text(written(found))
                run = found[name][seed]
                print(f"seed {seed} {name:16} chosen by {run['validation']:.4f}  test loss {run['loss']:.4f}  accuracy {run['accuracy']:.4f}  {run['epochs']} epochs", file=sys.stderr, flush=True)
    report(found, seeds)


def written(found):
    """One run a line."""
    sides = (f' "{side}": {{\n' + ",\n".join(f'  "{seed}": {json.dumps(run)}' for seed, run in runs.items()) + "\n }" for side, runs in found.items())
    return "{\n" + ",\n".join(sides) + "\n}\n"


def idx(path):
    import numpy

    with gzip.open(path) as file:
        content = file.read()
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(content[3])]
    return numpy.frombuffer(content, "uint8", offset=4 + 4 * content[3]).reshape(shape)


def images(data, folder, seed):
    """fashion.npz: of each 2 × 2 pixels the mean, from 0 to 1; the seed's own part of the training images, and all test images."""
    import numpy

    def halved(images):
        small = images.reshape(len(images), 14, 2, 14, 2).mean((2, 4), dtype="float32") / 255
        return small.reshape(len(images), 14 * 14)

    read = lambda part: (idx(data / f"{part}-images-idx3-ubyte.gz"), idx(data / f"{part}-labels-idx1-ubyte.gz"))
    (x, y), (x_test, y_test) = read("train"), read("t10k")
    chosen = numpy.random.default_rng(seed).choice(len(x), ROWS, replace=False)
    numpy.savez(folder / "fashion.npz", x_train=halved(x[chosen]), y_train=y[chosen], x_test=halved(x_test), y_test=y_test)


def luthier(program, base, name, seed, steps):
    scheduler, trials, edits, workers = CONTENDERS[name]
    folder = base / "study"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "fashion.npz").symlink_to(base / "fashion.npz")
    text = (HERE / "study.toml").read_text()
    # A population ends by its members; its epochs are bounded by theirs.
    limit = steps if trials > MEMBERS else MEMBERS * EPOCHS * 2
    for key, value in {"SCHEDULER": scheduler, "TRIALS": str(trials), "STEPS": str(limit), "SEED": seed, **edits}.items():
        # The comment at the top names these words too.
        text = "\n".join(line if line.startswith("#") else line.replace(key, value) for line in text.split("\n"))
    (folder / "study.toml").write_text(text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([program, "tune", "study.toml", "--json", "--workers", str(workers)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-1000:] + done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout.splitlines()[-1])
    told = subprocess.run([program, "replay", "study.toml", "--schedule"], cwd=folder, capture_output=True, text=True, check=True)
    held_out = dict(result["held_out"])
    return {
        "validation": result["best"]["values"]["val_loss"],
        "loss": held_out["loss"],
        "accuracy": held_out["accuracy"],
        "epochs": result["steps"],
        "failed": result["trials_by_state"]["failed"],
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        # [epoch from which it held, learning rate] of the winner
        "schedule": [[leg["from"], float(f"{leg['params']['learning_rate']:.4g}")] for leg in json.loads(told.stdout)["legs"]],
    }


def report(found, seeds):
    def column(values, digits=4):
        error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.{digits}f}{error}"

    print(f"{'':17}{'seeds':>6}{'test loss':>18}{'test accuracy':>18}{'below random':>22}{'wins':>7}{'epochs':>8}{'CPU s':>7}")
    for name, runs in found.items():
        chosen = [seed for seed in seeds if seed in runs]
        if not chosen:
            continue
        pairs = [(runs[seed]["loss"], found["random"][seed]["loss"]) for seed in chosen if seed in found.get("random", {})]
        below = column([other - own for own, other in pairs]) if pairs and name != "random" else ""
        wins = f"{sum(own < other for own, other in pairs)}/{len(pairs)}" if below else ""
        of = lambda key: [runs[seed][key] for seed in chosen]
        print(f"{name:17}{len(chosen):6}{column(of('loss')):>18}{column(of('accuracy')):>18}{below:>22}{wins:>7}{statistics.mean(of('epochs')):8.0f}{statistics.mean(of('cpu_seconds')):7.1f}")


if __name__ == "__main__":
    main()
