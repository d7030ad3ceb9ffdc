"""What a report with its verdict costs in Optuna: Trial.report and Trial.should_prune, on its storage in memory.

    python optuna_pruners.py --pruner SuccessiveHalvingPruner --trials 1000

The same study as in crates/core/benches/schedulers.rs: trials of 50 steps with a report each, 20 side by side, curves that fall at different
speeds, random sampling. Verdicts are asked for and not carried out, so that every trial has its 50 reports. Only report and should_prune of
the last tenth of the trials are counted. Prints one line of JSON.
"""

import argparse
import collections
import json
import math
import time
import warnings

import optuna

STEPS, AT_ONCE = 50, 20
RUNGS = (1, 3, 9, 27)

PRUNERS = {
    "MedianPruner": lambda: optuna.pruners.MedianPruner(),
    "PercentilePruner": lambda: optuna.pruners.PercentilePruner(25.0),
    "SuccessiveHalvingPruner": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    "HyperbandPruner": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=STEPS, reduction_factor=3),
    "PatientPruner": lambda: optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), patience=5),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pruner", choices=PRUNERS, required=True)
    arguments.add_argument("--trials", type=int, default=1000)
    options = arguments.parse_args()
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=PRUNERS[options.pruner]())
    running, started, reports, seconds = collections.deque(), 0, 0, 0.0
    while True:
        while len(running) < AT_ONCE and started < options.trials:
            trial = study.ask()
            started += 1
            running.append((trial, trial.suggest_float("level", 0, 1), trial.suggest_float("speed", 0, 1), 1))
        if not running:
            break
        trial, level, speed, step = running.popleft()
        loss = level + math.exp(-step * (0.05 + 0.3 * speed)) + 0.1 * math.sin(0.7 * trial.number + step)
        begun = time.process_time()
        trial.report(loss, step)
        # Before, a verdict leaves something behind at rungs only.
        if trial.number >= options.trials - options.trials // 10 or step in RUNGS:
            trial.should_prune()
        if trial.number >= options.trials - options.trials // 10:
            seconds += time.process_time() - begun
            reports += 1
        if step == STEPS:
            study.tell(trial, loss)
        else:
            running.append((trial, level, speed, step + 1))
    print(json.dumps({"version": optuna.__version__, "pruner": options.pruner, "trials": options.trials, "reports": reports,
                      "us_per_report": 1e6 * seconds / reports}))


if __name__ == "__main__":
    main()
