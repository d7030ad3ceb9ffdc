"""Studies in files: resuming, several handles, and what happens to trials in hand."""

import os
import subprocess
import sys

import pytest

import luthier

X = [luthier.Float("x", -5, 5)]


def tell_next(study, count):
    for _ in range(count):
        trial = study.ask()
        trial.tell(trial["x"] ** 2, seconds=0.0)


def test_a_study_goes_on_where_it_was(tmp_path):
    path = tmp_path / "bowl.luthier"
    whole = luthier.Study(X, sampler="tpe", seed=3)
    tell_next(whole, 20)
    with luthier.Study(X, sampler="tpe", seed=3, storage=path) as study:
        tell_next(study, 12)
        assert study.name == "bowl" and study.storage == str(path)
    with luthier.Study(X, sampler="tpe", seed=3, storage=str(path)) as study:
        assert len(study) == 12
        tell_next(study, 8)
    assert luthier.Study.open(path).trials == whole.trials


def test_what_is_in_hand_comes_back(tmp_path):
    path = tmp_path / "s.luthier"
    with luthier.Study(X, storage=path) as study:
        tell_next(study, 1)
        lost = study.ask()
    assert len(study) == 2 and study.best_value is not None, "a closed study can be read"
    with pytest.raises(luthier.StudyError, match="^the study is closed$"):
        study.ask()
    again = luthier.Study.open(path)
    trial = again.ask()
    assert (trial.number, trial.attempt, trial.params) == (1, 2, lost.params)
    with pytest.raises(luthier.StudyError, match="^the study is closed$"):
        lost.tell(1.0)
    trial.tell(1.0)


def test_two_handles_share_the_trials(tmp_path):
    path = tmp_path / "s.luthier"
    one, two = luthier.Study(X, storage=path, trials=6), luthier.Study.open(path)
    a, b = one.ask(), two.ask()
    assert {a.number, b.number} == {0, 1}
    b.tell(1.0)
    a.tell(2.0)
    assert one.best["number"] == two.best["number"] == 1
    with pytest.raises(luthier.StudyError, match="^trial 1 is completed, not running"):
        one.tell(1, 3.0)


def test_nobody_speaks_for_a_worker_that_lives(tmp_path):
    path = tmp_path / "s.luthier"
    one, two = luthier.Study(X, storage=path), luthier.Study.open(path)
    trial = one.ask()
    with pytest.raises(luthier.StudyError, match="^trial 0 is in the hands of another worker that still runs"):
        two.tell(0, 1.0)
    assert trial.tell(1.0) == "completed"


ASK = """
import sys, os, luthier
study = luthier.Study([luthier.Float("x", -5, 5)], storage=sys.argv[1], lease=eval(sys.argv[2]))
print(study.ask().number)
sys.stdout.flush()
os._exit(0)
"""


def ask_and_die(path, lease):
    out = subprocess.run([sys.executable, "-c", ASK, str(path), lease], capture_output=True, text=True, check=True)
    return int(out.stdout)


def test_the_end_of_a_process_gives_its_trials_back(tmp_path):
    path = tmp_path / "s.luthier"
    assert ask_and_die(path, "None") == 0
    trial = luthier.Study.open(path).ask()
    assert (trial.number, trial.attempt) == (0, 2)


def test_a_lease_keeps_trials_beyond_the_process(tmp_path):
    path = tmp_path / "s.luthier"
    assert ask_and_die(path, "3600") == 0
    study = luthier.Study.open(path)
    assert study.ask().number == 1
    assert study.tell(0, 2.0) == "completed"


def test_other_limits_and_policy_hold_from_there_on(tmp_path):
    path = tmp_path / "s.luthier"
    with luthier.Study(X, storage=path, trials=2, sampler="random") as study:
        tell_next(study, 2)
        assert study.ask() is None
    with luthier.Study(X, storage=path, trials=3, sampler="sobol") as study:
        assert study.sampler[0] == "sobol"
        tell_next(study, 1)
        assert study.ask() is None
    with luthier.Study(X, storage=path) as study:
        assert study.sampler[0] == "sobol" and study.ask() is None


@pytest.mark.parametrize(
    ("space", "keywords", "what"),
    [
        (X, {"direction": "maximize"}, "the metrics have"),
        (X, {"max_budget": 9, "scheduler": "run_all"}, "max_budget has"),
        (X, {"replicates": 2}, "replicates has"),
        ([luthier.Float("x", -5, 6)], {}, "the space has"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, space, keywords, what):
    path = tmp_path / "s.luthier"
    luthier.Study(X, storage=path).close()
    with pytest.raises(luthier.StudyError) as raised:
        luthier.Study(space, storage=path, **keywords)
    assert str(raised.value) == (
        f"{what} changed since the study in {path} began; give another storage, or Study.open this one as it is"
    )


def test_files_that_are_no_studies_are_refused_and_kept(tmp_path):
    path = tmp_path / "s.luthier"
    path.write_text("something else entirely, " * 50)
    before = path.read_bytes()
    with pytest.raises(luthier.StorageError, match="is not a Luthier study"):
        luthier.Study(X, storage=path)
    assert path.read_bytes() == before
    with pytest.raises(luthier.StorageError, match="^there is no study at "):
        luthier.Study.open(tmp_path / "none.luthier")
    with pytest.raises(luthier.StorageError, match="the file of a study ends in .luthier; rename it$"):
        luthier.Study(X, storage=tmp_path / "s.db")


def test_a_wrong_policy_leaves_no_file(tmp_path):
    path = tmp_path / "s.luthier"
    with pytest.raises(luthier.PolicyError):
        luthier.Study(X, storage=path, sampler="bayes")
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_must_open_its_own(tmp_path):
    code = f"""
import os, luthier
study = luthier.Study([luthier.Float("x", 0, 1)], storage={str(tmp_path / "s.luthier")!r})
trial = study.ask()
child = os.fork()
if child == 0:
    try:
        study.ask()
    except luthier.StudyError as error:
        ok = "opened in another process" in str(error)
        del trial, study
        os._exit(0 if ok else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert trial.tell(1.0) == "completed"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
