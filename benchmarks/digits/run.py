"""A search over networks on handwritten digits: Luthier beside Optuna's TPE and Hyperband over PyTorch, and scikit-learn's
HalvingRandomSearchCV over its MLPClassifier. CPU seconds to an accuracy, accuracy at the end, accuracy on held-out rows.

    cargo build --release -p luthier-cli
    PYTHON_WITH_TORCH_OPTUNA_SKLEARN benchmarks/digits/run.py [--seeds 0-9] [--out benchmarks/digits/results.json]

One to three layers, units, dropout, learning rate, momentum, batch size, optimiser, L2 (`study.toml`; scikit-learn has no dropout); 40 trials
of up to 30 epochs, one thread, everybody with their defaults. For each seed the rows are divided anew, the same for all: 60 % to train on,
20 % to choose by, 20 % that no trial sees. The winners are trained once more on the first two and measured once on the last; for
Optuna, which does not do that, it is done outside the clock. Luthier's seconds are those of the whole process, as the kernel counts them;
the others' start after their imports. Runs that are in the file are not made again.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
SIDES = ["luthier", "optuna", "sklearn"]
TICK = os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--luthier", type=Path, default=REPOSITORY / "target/release/luthier")
    parser.add_argument("--policy", nargs="*", default=[], metavar="FLAG", help="flags for `luthier tune`, such as --policy=--sampler=tpe")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    first, last = (options.seeds.split("-") * 2)[:2]
    seeds = range(int(first), int(last) + 1)
    for seed in seeds:
        for side in options.sides.split(","):
            runs = found.setdefault(side, {})
            if str(seed) in runs:
                continue
            with tempfile.TemporaryDirectory() as folder:
                divide(Path(folder), seed)
                runs[str(seed)] = luthier(Path(folder), seed, options) if side == "luthier" else peer(side, Path(folder), seed)
            options.out.write_text(written(found))
            print(f"seed {seed} {side:8} {told(runs[str(seed)])}", file=sys.stderr, flush=True)
    report(found, [str(seed) for seed in seeds])


def written(found):
    """One run a line."""
    sides = (f' "{side}": {{\n' + ",\n".join(f'  "{seed}": {json.dumps(run)}' for seed, run in runs.items()) + "\n }" for side, runs in found.items())
    return "{\n" + ",\n".join(sides) + "\n}\n"


def told(run):
    return f"{run['cpu_seconds']:6.2f} CPU s  best validation {best_seen(run):.4f}  held out {run['test']:.4f}"


def divide(folder, seed):
    """tune.csv, whose last quarter validates, and test.csv: each class in proportion, in random order."""
    from sklearn.model_selection import train_test_split

    header, *rows = (REPOSITORY / "examples/digits/digits.csv").read_text().splitlines()
    digits = lambda rows: [row.rsplit(",", 1)[1] for row in rows]
    tune, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=digits(rows))
    train, validation = train_test_split(tune, test_size=round(len(tune) / 4), random_state=seed, stratify=digits(tune))
    (folder / "tune.csv").write_text("\n".join([header, *train, *validation]) + "\n")
    (folder / "test.csv").write_text("\n".join([header, *test]) + "\n")


def peer(side, folder, seed):
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    command = [sys.executable, HERE / "peers.py", side, folder, str(seed)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def luthier(folder, seed, options):
    """The study, read line by line; at each new best the CPU seconds that the process has used by then."""
    shutil.copy(HERE / "study.toml", folder)
    command = [options.luthier.resolve(), "tune", "study.toml", "--json", "--seed", str(seed), "--workers", "1", *options.policy]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    reached = []
    for text in running.stdout:
        line = json.loads(text)
        value = line.get("values", {}).get("val_accuracy") if line["event"] == "reported" else None
        if value is not None and (not reached or value > reached[-1][1]):
            reached.append([cpu_of(running.pid), value])
    if running.wait():
        sys.exit(running.stderr.read()[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    best = line["best"]
    return {
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
        "validation": best["values"]["val_accuracy"],
        "test": dict(line["held_out"])["accuracy"],
        "epochs": line["steps"],
        "training_seconds": round(line["seconds"], 3),
        "reached": reached,
        "params": best["params"],
    }


def cpu_of(process):
    """User and system seconds of a running process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def best_seen(run):
    """The best accuracy on the validation rows that any trial had after any epoch; of scikit-learn the winner's, which is all it tells."""
    return run["reached"][-1][1] if "reached" in run else run["validation"]


def seconds_to(run, accuracy):
    """CPU seconds until some trial had this accuracy on the validation rows, if one ever had."""
    return next((seconds for seconds, value in run["reached"] if value >= accuracy - 1e-9), None)


def report(found, seeds):
    spread = lambda values, digits: f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
    mean = lambda values: f"{statistics.mean(values):.4f}" + (f" ± {statistics.stdev(values) / len(values) ** 0.5:.4f}" if len(values) > 1 else "")
    tested = lambda run: run["test"]
    print(f"{'':10}{'seeds':>6}{'CPU s':>22}{'best validation':>20}{'held out':>20}{'epochs':>20}")
    for side, runs in found.items():
        chosen = [runs[seed] for seed in seeds if seed in runs]
        if chosen:
            columns = [mean([of(run) for run in chosen]) for of in (best_seen, tested)]
            epochs = spread([run["epochs"] for run in chosen], 0) if "epochs" in chosen[0] else "-"
            print(f"{side:10}{len(chosen):6}{spread([run['cpu_seconds'] for run in chosen], 2):>22}{columns[0]:>20}{columns[1]:>20}{epochs:>20}")
    for side in found:
        pairs = [(found["luthier"][seed], found[side][seed]) for seed in seeds if side != "luthier" and seed in found.get("luthier", {}) and seed in found[side]]
        if not pairs:
            continue
        print(f"\nLuthier beside {side}, seed by seed")
        print("  CPU of the whole search, times less:", spread([other["cpu_seconds"] / own["cpu_seconds"] for own, other in pairs], 1))
        for name, of in (("best validation", best_seen), ("held out", tested)):
            print(f"  {name}, difference:", mean([of(own) - of(other) for own, other in pairs]))
        if side == "optuna":
            there = [(seconds_to(own, best_seen(other)), seconds_to(other, best_seen(other))) for own, other in pairs]
            ratios = [theirs / ours for ours, theirs in there if ours is not None]
            print(f"  has had its best validation accuracy in {len(ratios)} of {len(pairs)} searches; CPU to there, times less:", spread(ratios, 1))
            # Those that never were there have spent all their CPU, which is the least that it would have taken.
            at_most = [theirs / (own["cpu_seconds"] if ours is None else ours) for (ours, theirs), (own, _) in zip(there, pairs)]
            print("  with the whole CPU of a search that was not there:", spread(at_most, 1))


if __name__ == "__main__":
    main()
