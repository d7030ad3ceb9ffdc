"""Many threads on one study, and Python's lock let go while the engine works."""

import sys
import threading
import time

import luthier


def test_threads_ask_and_tell_at_once(space, objective):
    study = luthier.Study(space, sampler="tpe", scheduler="run_all", trials=120)
    mine = [[] for _ in range(4)]
    errors = []

    def work(told):
        try:
            while (trial := study.ask()) is not None:
                trial.report(1, objective(trial.params))
                trial.tell(objective(trial.params))
                told.append(trial.number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(told,)) for told in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(number for told in mine for number in told) == list(range(120))
    assert all(trial["state"] == "completed" for trial in study.trials)
    assert all(trial["values"]["value"] == objective(trial["params"]) for trial in study.trials)


def test_the_lock_of_python_is_let_go():
    # The interpreter itself switches threads only every hour here: the other thread runs only if the study lets it.
    study = luthier.Study([luthier.Float("x", 0, 1)], sampler="random")
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    before = sys.getswitchinterval()
    thread.start()
    sys.setswitchinterval(3600)
    try:
        start = counts[0]
        for _ in range(100_000):
            study.ask().tell(1.0)
            if counts[0] > start + 3:
                break
        assert counts[0] > start + 3
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()
