"""The benchmark's command line; `python3 benchmarks/suite/run.py --help`. It decides nothing about optimisers or problems: it runs slices
(`runner`), keeps them (`traces`), and has them measured (`measure`, `report`)."""

import argparse
import datetime
import os
import sys
import time
import warnings
from pathlib import Path

# Before numpy and its kin are imported: one thread each, so that CPU times can be compared and processes do not fight.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("PYTHONWARNINGS", "ignore")
warnings.filterwarnings("ignore")

sys.path.insert(0, str(Path(__file__).resolve().parent))

import optimizers
import problems
import runner
import traces


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(";")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command_list(commands)
    command_check(commands)
    command_record(commands)
    command_pack(commands)
    command_dev(commands)
    arguments = parser.parse_args()
    os.nice(arguments.nice if hasattr(arguments, "nice") else 10)
    sys.exit(arguments.run(arguments))


# list


def command_list(commands):
    command = commands.add_parser("list", help="the problems, the optimisers that are installed here, and the traces there are")
    command.add_argument("--tasks", default="suite")
    command.set_defaults(run=run_list)


def run_list(arguments):
    for name in tasks_of(arguments.tasks):
        problem = problems.load(name)
        half = next((half for half in ("development", "held_back") if name in problems.names(half)), "")
        print(f"{name:45} {problem.family:14} {len(problem.space):3} parameters  {half}")
    found, missing = optimizers.available()
    print("\ninstalled here:")
    for name, version in found.items():
        print(f"  {name:30} {version}")
    for name, reason in missing.items():
        print(f"  {name:30} not installed: {reason}")
    print("\ntraces:")
    for name in traces.recorded():
        slices = traces.read(name).values()
        print(f"  {name:30} {len(slices):5} runs, {sum(s.trials for s in slices):8} trials, {len({s.task for s in slices}):3} tasks")


# check


def command_check(commands):
    command = commands.add_parser("check", help="a few trials of an optimiser on a problem of each kind")
    command.add_argument("optimizer")
    command.add_argument("--trials", type=int, default=15)
    command.set_defaults(run=run_check)


CHECKED = ["lcbench-167168-val_accuracy", "rbv2_xgboost-12-acc", "hpobench_kc1", "nasbench201_cifar100", "pool-a6a", "trees-mnist"]


def run_check(arguments):
    import math

    worst = 0
    for task in CHECKED:
        try:
            first, second = (runner.run_slice(arguments.optimizer, task, seed=3, trials=arguments.trials) for _ in range(2))
        except runner.Unsupported as reason:
            print(f"{task:32} left out: {reason}")
            continue
        same = all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(first.values, second.values))
        worst |= not same
        print(f"{task:32} best {best_of(task, first.values):.5g}, {sum(first.cpu) / first.trials:.3g} ms CPU a trial"
              + ("" if same else "; the same seed gave other values the second time"))
    return worst


def best_of(task, values):
    problem = problems.load(task)
    finite = [value for value in values if value == value]
    if len(problem.objectives) > 1 or problem.direction == "max":
        return max(finite, default=float("nan"))
    return min(finite, default=float("nan"))


# record


def command_record(commands):
    command = commands.add_parser("record", help="run an optimiser and keep its traces; what is there already is not run again")
    command.add_argument("optimizer", nargs="+", help="NAME or NAME:VARIANT")
    slices_arguments(command)
    command.add_argument("--limit", type=float, help="seconds of wall time for one run; it is kept with the trials it has by then")
    command.add_argument("--minutes", type=float, help="start no further run after so many minutes")
    command.add_argument("--folder", type=Path, help="where to keep the traces (default: traces/ of the suite)")
    command.set_defaults(run=run_record)


def slices_arguments(command, tasks="core", seeds="0-4", trials=100):
    command.add_argument("--tasks", default=tasks, help="a group, names joined by commas, or a mixture (default: %(default)s)")
    command.add_argument("--seeds", default=seeds, help="as in 0-4 or 0,3,7 (default: %(default)s)")
    command.add_argument("--trials", type=int, default=trials, help="(default: %(default)s)")
    command.add_argument("--fidelity", action="store_true", help="evaluate on several fidelities; trials is the budget in full evaluations")
    command.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    command.add_argument("--nice", type=int, default=10, help="added to the niceness (default: %(default)s)")


def run_record(arguments):
    today = datetime.date.today().isoformat()
    failures = 0
    for name in arguments.optimizer:
        kind, variant = optimizers.find(name)
        name = f"{name.partition(':')[0]}:{variant}"
        name = f"{name}+fidelity" if arguments.fidelity else name
        traces.note_version(name, kind.version(), today, arguments.folder)
        done = traces.read(name, arguments.folder)
        wanted = [
            slice
            for slice in slices_of(arguments)
            if not is_done(done.get(slice), arguments.trials, arguments.limit)
        ]
        failures += record(name, wanted, arguments)
    return min(failures, 1)


def is_done(run, trials, limit):
    if run is None:
        return False
    return bool(limit) or (sum(run.cost) >= trials - 1e-6 if run.cost else run.trials >= trials)


def slices_of(arguments):
    """(task, seed) seed by seed, so that what is there after an interruption covers all tasks alike."""
    tasks = tasks_of(arguments.tasks)
    return [(task, seed) for seed in seeds_of(arguments.seeds) for task in tasks]


def record(name, wanted, arguments):
    """Runs the slices and appends each as it ends. Returns how many failed."""
    begin, failures = time.monotonic(), 0
    jobs = [(name, task, seed, arguments.trials, arguments.limit, arguments.fidelity) for task, seed in wanted]
    for count, (run, error) in enumerate(outcomes(jobs, arguments.jobs, getattr(arguments, "minutes", None)), 1):
        if error:
            failures += 1
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            continue
        if run is None:
            continue
        traces.append(name, run, problems.load(run.task).best_known, arguments.folder)
        elapsed = time.monotonic() - begin
        print(f"{name} {count}/{len(jobs)} {run.task} seed {run.seed}: {run.trials} trials, best {best_of(run.task, run.values):.5g}, "
              f"{sum(run.cpu) / 1000:.1f} s CPU, {elapsed:.0f} s so far", file=sys.stderr, flush=True)
    return failures


def outcomes(jobs, processes, minutes=None):
    """(slice or None, error or None) as runs end; None and None is a problem the optimiser cannot do."""
    end = time.monotonic() + 60 * minutes if minutes else None
    jobs = until(jobs, end)
    if processes == 1:
        yield from map(outcome, jobs)
        return
    import multiprocessing

    # Fresh processes: a forked one would share the state of BLAS and of ONNX sessions.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=os.nice, initargs=(0,)) as pool:
        yield from pool.imap_unordered(outcome, jobs)


def until(jobs, end):
    for job in jobs:
        if end and time.monotonic() > end:
            return
        yield job


def outcome(job):
    optimizer, task, seed, trials, limit, fidelity = job
    try:
        return runner.run_slice(optimizer.removesuffix("+fidelity"), task, seed, trials, limit, fidelity), None
    except runner.Unsupported:
        return None, None
    except Exception as error:  # a peer's crash is a result to be told, not the end of the recording
        return None, f"{task} seed {seed}: {type(error).__name__}: {error}"


# pack


def command_pack(commands):
    command = commands.add_parser("pack", help="compress what was recorded, to be committed")
    command.add_argument("--folder", type=Path)
    command.set_defaults(run=run_pack)


def run_pack(arguments):
    for name in traces.recorded(arguments.folder):
        traces.pack(name, arguments.folder)


# dev


def command_dev(commands):
    command = commands.add_parser(
        "dev",
        help="run optimisers fresh on the development half and print a table with the recorded peers beside them",
        description="LUTHIER_LIBRARY may name a built library of Luthier's Python module, to measure a working copy.",
    )
    command.add_argument("--optimizers", default="luthier:auto", help="joined by commas (default: %(default)s)")
    command.add_argument("--peers", default="all", help="recorded optimisers to show: all, none, or names (default: %(default)s)")
    command.add_argument("--draws", type=int, default=0, help="bootstrap draws for intervals (default: none)")
    command.add_argument("--details", action="store_true", help="regret task by task, and paired tests by family")
    slices_arguments(command, tasks="development")
    command.set_defaults(run=run_dev)


def run_dev(arguments):
    import report

    fresh = run_fresh(arguments.optimizers.split(","), slices_of(arguments), arguments)
    runs = fresh | peers_of(arguments.peers, without=fresh, fidelity=arguments.fidelity)
    seeds = seeds_of(arguments.seeds)
    chosen = tasks_of(arguments.tasks)
    grids = {"": chosen}
    slow = [task for task in chosen if task in problems.core()]
    if len(slow) < len(chosen) and slow:
        grids["of them the core, where slow peers are recorded too"] = slow
    for title, tasks in grids.items():
        report.print_table(title or f"{arguments.tasks}", runs, tasks, seeds, arguments.trials, arguments.draws, arguments.details, list(fresh))


def run_fresh(names, slices, arguments):
    """{optimiser: {(task, seed): Slice}}, run now and not kept."""
    fresh = {}
    for name in names:
        kind, variant = optimizers.find(name)
        name = f"{name.partition(':')[0]}:{variant}"
        jobs = [(name, task, seed, arguments.trials, None, arguments.fidelity) for task, seed in slices]
        name = f"{name}+fidelity" if arguments.fidelity else name
        fresh[name] = {}
        failed = 0
        for run, error in outcomes(jobs, arguments.jobs):
            failed += error is not None
            if error and failed == 3:
                print(f"{name}: and so on; further failures are not shown", file=sys.stderr, flush=True)
            elif error and failed < 3:
                print(f"{name}: {error}", file=sys.stderr, flush=True)
            elif run is not None:
                fresh[name][run.task, run.seed] = run
    return fresh


def peers_of(wanted, without=(), fidelity=False):
    """{optimiser: {(task, seed): Slice}} of the recorded ones; `wanted` is "all", "none", or names joined by commas."""
    names = traces.recorded() if wanted == "all" else [] if wanted == "none" else wanted.split(",")
    return {name: traces.read(name) for name in names if name not in without and name.endswith("+fidelity") == fidelity}


# what the commands share


def tasks_of(text):
    """Names of problems from "core", "all", "lcbench-167168-val_accuracy,pool-a6a", …"""
    wanted = []
    for word in text.split(","):
        known = word in problems.SUITE
        try:
            wanted += [word] if known else problems.names(word)
        except KeyError:
            problems.load(word)
            wanted.append(word)
    return list(dict.fromkeys(wanted))


def seeds_of(text):
    seeds = []
    for word in text.split(","):
        low, _, high = word.partition("-")
        seeds += range(int(low), int(high or low) + 1)
    return seeds


if __name__ == "__main__":
    main()
