"""What a durable finished trial costs in Optuna: ask, suggest float parameters, tell, on its SQLite storage.

    python optuna_sqlite.py --trials 200 --dir DIR

Prints one line of JSON. Creating the study and importing Optuna are not counted. The database file is made anew in
DIR and removed afterwards.
"""

import argparse
import json
import os
import pathlib
import sqlite3
import time

import optuna


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--params", type=int, default=10)
    arguments.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("."))
    options = arguments.parse_args()

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = options.dir / f"optuna-{os.getpid()}.db"
    file.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))
    names = [f"x{i}" for i in range(options.params)]

    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(options.trials):
        trial = study.ask()
        loss = sum(trial.suggest_float(name, 0.0, 1.0) for name in names)
        study.tell(trial, loss)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    # A fresh connection of Optuna's engine says what its own connections run with.
    with storage.engine.connect() as connection:
        synchronous, journal_mode = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")
        )
    finished = sqlite3.connect(file).execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0]
    assert finished == options.trials, f"{finished} finished trials in the database instead of {options.trials}"
    print(json.dumps({
        "trials": options.trials,
        "params": options.params,
        "wall_s": wall,
        "cpu_s": cpu,
        "ms_wall_per_trial": 1000 * wall / options.trials,
        "ms_cpu_per_trial": 1000 * cpu / options.trials,
        "optuna": optuna.__version__,
        "sqlite": sqlite3.sqlite_version,
        "synchronous": {0: "off", 1: "normal", 2: "full", 3: "extra"}[synchronous],
        "journal_mode": journal_mode,
    }))
    storage.engine.dispose()
    for left in options.dir.glob(file.name + "*"):
        left.unlink()


if __name__ == "__main__":
    main()
