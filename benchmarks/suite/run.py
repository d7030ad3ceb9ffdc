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

import measure
import optimizers
import problems
import report
import runner
import traces


RESULTS = Path(__file__).resolve().parents[2] / "target" / "benchmarks"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(";")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command_list(commands)
    command_check(commands)
    command_record(commands)
    command_pack(commands)
    command_dev(commands)
    command_grid(commands)
    command_bars(commands)
    command_cpu(commands)
    arguments = parser.parse_args()
    os.nice(getattr(arguments, "nice", 0))
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
            first, second = (runner.run_slice(arguments.optimizer, task, seed=3, trials=arguments.trials, strict=True) for _ in range(2))
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
    command.add_argument("--workers", type=int, default=1, help="trials that run at once, of which the oldest ends first (default: %(default)s)")
    command.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    command.add_argument("--nice", type=int, default=10, help="added to the niceness (default: %(default)s)")


def run_record(arguments):
    today = datetime.date.today().isoformat()
    failures = 0
    for name in arguments.optimizer:
        kind, variant = optimizers.find(name)
        name = f"{name.partition(':')[0]}:{variant}"
        name += setting_of(arguments)
        done = traces.read(name, arguments.folder)
        wanted = [
            slice
            for slice in slices_of(arguments)
            if not is_done(done.get(slice), arguments.trials, arguments.limit)
        ]
        if wanted:
            traces.note_version(name, kind.version(), today, arguments.folder)
        failures += record(name, wanted, arguments)
    return min(failures, 1)


def setting_of(arguments):
    return traces.setting(arguments.fidelity, arguments.workers)


def is_done(run, trials, limit):
    if run is None:
        return False
    return bool(limit) or measure.long_enough(run, trials)


def slices_of(arguments):
    """(task, seed) seed by seed, so that what is there after an interruption covers all tasks alike."""
    tasks = tasks_of(arguments.tasks)
    return [(task, seed) for seed in seeds_of(arguments.seeds) for task in tasks]


def record(name, wanted, arguments):
    """Runs the slices and appends each as it ends. Returns how many failed."""
    begin, failures = time.monotonic(), 0
    jobs = [(name, task, seed, arguments.trials, arguments.limit, arguments.fidelity, arguments.workers) for task, seed in wanted]
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
    """(slice or None, error or None) as runs end; None and None is a problem the optimiser cannot do, or one for which no time was left."""
    end = time.monotonic() + 60 * minutes if minutes else None
    jobs = [(job, end) for job in jobs]
    if processes == 1:
        yield from map(outcome, jobs)
        return
    import multiprocessing

    # Fresh processes: a forked one would share the state of BLAS and of ONNX sessions.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=os.nice, initargs=(0,)) as pool:
        yield from pool.imap_unordered(outcome, jobs)


def outcome(job):
    (optimizer, task, seed, trials, limit, fidelity, workers), end = job
    if end and time.monotonic() > end:
        return None, None
    try:
        return runner.run_slice(traces.bare(optimizer), task, seed, trials, limit, fidelity, workers), None
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
    fresh = run_fresh(arguments.optimizers.split(","), slices_of(arguments), arguments)
    runs = fresh | peers_of(arguments.peers, without=fresh, setting=setting_of(arguments))
    seeds = seeds_of(arguments.seeds)
    chosen = tasks_of(arguments.tasks)
    grids = {"": chosen}
    slow = [task for task in chosen if task in problems.core()]
    if len(slow) < len(chosen) and slow:
        grids["of them the core, where slow peers are recorded too"] = slow
    for title, tasks in grids.items():
        report.print_table(title or f"{arguments.tasks}", runs, tasks, seeds, arguments.trials, arguments.draws, arguments.details, list(fresh))


def run_fresh(names, slices, arguments):
    """{optimiser: {(task, seed): Slice}}. What the same build of Luthier has run before is taken from `target/benchmarks`, so an
    interrupted run goes on; other optimisers are run anew."""
    fresh = {}
    for name in names:
        _, variant = optimizers.find(name)
        name = f"{name.partition(':')[0]}:{variant}"
        folder = fresh_folder(name)
        suffix = setting_of(arguments)
        kept = traces.read(name + suffix, folder) if folder else {}
        jobs = [
            (name, task, seed, arguments.trials, None, arguments.fidelity, arguments.workers)
            for task, seed in slices
            if not is_done(kept.get((task, seed)), arguments.trials, None)
        ]
        fresh[name + suffix] = kept
        failed = 0
        for run, error in outcomes(jobs, arguments.jobs):
            failed += error is not None
            if error and failed <= 3:
                print(f"{name}: {error}" if failed < 3 else f"{name}: and so on", file=sys.stderr, flush=True)
            elif run is not None:
                kept[run.task, run.seed] = run
                if folder:
                    traces.append(name + suffix, run, problems.load(run.task).best_known, folder)
    return fresh


def fresh_folder(name):
    """Where this build's runs are kept, or None if the optimiser is not Luthier."""
    if not name.startswith("luthier:"):
        return None
    import hashlib

    from optimizers.luthier import library, luthier

    built = library() or Path(luthier._core.__file__)
    return RESULTS / hashlib.sha256(Path(built).read_bytes()).hexdigest()[:12]


def peers_of(wanted, without=(), setting=""):
    """{optimiser: {(task, seed): Slice}} of the recorded ones; `wanted` is "all", "none", or names joined by commas."""
    names = traces.recorded() if wanted == "all" else [] if wanted == "none" else wanted.split(",")
    return {name: traces.read(name) for name in names if name not in without and traces.setting_of(name) == setting}


# quick, full


def command_grid(commands):
    quick = commands.add_parser("quick", help="auto, tpe and gp beside the recorded peers on the core: at most 15 minutes on two idle cores")
    quick.set_defaults(run=run_grids, grids=["core"], optimizers=["luthier:auto", "luthier:tpe", "luthier:gp"], seeds="0-2", page=False)
    full = commands.add_parser("full", help="all samplers on everything, then the table, the plots and the page in docs/benchmarks.md")
    full.set_defaults(run=run_grids, page=True)
    full.add_argument("--seeds", default="0-19", help="of these as many as a part has (default: %(default)s)")
    full.add_argument("--grids", type=lambda text: text.split(","), default=list(report.GRIDS), help=f"parts: {','.join(report.GRIDS)} (default: all)")
    full.add_argument("--optimizers", type=rows_named, help="of each part's samplers those, joined by commas (default: all)")
    page = commands.add_parser("page", help="the table, the plots and the page from what has been run, running nothing")
    page.set_defaults(run=run_page, seeds="0-19")
    for command in (quick, full):
        command.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
        command.add_argument("--nice", type=int, default=10, help="added to the niceness (default: %(default)s)")
        command.add_argument("--into", type=Path, help="where the table and the plots go")


def rows_named(text):
    names = text.split(",")
    unknown = set(names).difference(*(grid.ours for grid in report.GRIDS.values()))
    if unknown:
        raise argparse.ArgumentTypeError(f"no part has a row for {', '.join(sorted(unknown))}; dev runs any sampler")
    return names


def run_grids(arguments):
    begin = time.monotonic()
    for name in arguments.grids:
        run_grid(report.GRIDS[name], arguments)
        print(f"{name}: done after {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    if arguments.page:
        return run_page(arguments)
    grid = report.GRIDS["core"]
    runs = kept_runs() | peers_of("all")
    shown = arguments.optimizers
    runs = {name: kept for name, kept in runs.items() if not name.startswith("luthier:") or name in shown}
    report.print_table("core", runs, tasks_of(grid.tasks), seeds_of(arguments.seeds), grid.trials, draws=500, details=True, ours=shown)
    report.write_tables({"core": (runs, tasks_of(grid.tasks), seeds_of(arguments.seeds), grid.trials)}, arguments.into or RESULTS / "quick")


def run_grid(grid, arguments):
    """Luthier's samplers on one grid, kept by build."""
    seeds = seeds_of(arguments.seeds)[: grid.seeds]
    slices = [(task, seed) for seed in seeds for task in grid.chosen(tasks_of)]
    wanted = [name for name in grid.ours if name in (arguments.optimizers or grid.ours)]
    settings = argparse.Namespace(trials=grid.trials, fidelity=grid.fidelity, workers=grid.workers, jobs=arguments.jobs)
    run_fresh([name for name in wanted if is_there(name)], slices, settings)


def is_there(name):
    try:
        optimizers.find(name)
    except (ValueError, ImportError) as reason:
        print(f"{name} is left out: {reason}", file=sys.stderr, flush=True)
        return False
    return True


def kept_runs(setting=""):
    """All runs of the present build in that setting."""
    try:
        folder = fresh_folder("luthier:auto")
    except ImportError as reason:
        print(f"no build of Luthier: {reason}", file=sys.stderr)
        return {}
    names = [name for name in traces.recorded(folder) if traces.setting_of(name) == setting]
    return {name: traces.read(name, folder) for name in names}


def runs_by_setting():
    """All there is, by the setting of a grid (see `traces.setting`)."""
    settings = {grid.setting for grid in report.GRIDS.values()}
    return {setting: kept_runs(setting) | peers_of("all", setting=setting) for setting in sorted(settings)}


def build():
    """Luthier's version, the start of its library's SHA-256, and the days on which its runs were made."""
    try:
        folder = fresh_folder("luthier:auto")
    except ImportError:
        return "no build"
    days = sorted(datetime.date.fromtimestamp(file.stat().st_mtime).isoformat() for file in folder.glob("*.csv"))
    when = " … ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing run"
    return f"{optimizers.find('luthier:auto')[0].version()}, library {folder.name} (SHA-256), {when}"


def run_page(arguments):
    report.write_page(
        runs_by_setting(),
        build(),
        tasks_of,
        optimizers.names(),
        arguments.into if hasattr(arguments, "into") and arguments.into else report.FOLDER,
    )


# bars


def command_bars(commands):
    command = commands.add_parser("bars", help="each thing Luthier has set itself to reach, with its figures; runs nothing")
    command.add_argument("--half", default="development", choices=["development", "held_back", "suite"])
    command.set_defaults(run=run_bars)


def run_bars(arguments):
    found = report.all_bars(runs_by_setting(), arguments.half, tasks_of)
    for bar in found:
        print(bar.line())
    return int(any(bar.passed is False for bar in found))


# cpu


def command_cpu(commands):
    import cpu

    command = commands.add_parser("cpu", help="CPU time of an ask and a tell, Luthier and Optuna in turn")
    command.add_argument("figure", nargs="*", help=f"some of: {' '.join(cpu.FIGURES_BY_NAME)} (default: all)")
    command.add_argument("--rounds", type=int, default=3)
    command.set_defaults(run=run_cpu)


def run_cpu(arguments):
    import cpu

    cpu.main(arguments.figure, arguments.rounds)


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
