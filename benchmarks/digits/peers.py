"""The peers of run.py: Optuna's TPE and Hyperband over PyTorch, and scikit-learn's HalvingRandomSearchCV, each once.

    python3 peers.py {optuna,sklearn} FOLDER SEED

FOLDER holds tune.csv (training rows, then as many validation rows as a third of them) and test.csv. Prints one line of JSON.
CPU seconds are those of this process after its imports, so what Python needs to start is nobody's. One thread.
"""

import copy
import json
import sys
import time
import warnings
from pathlib import Path

import numpy

TRIALS, EPOCHS = 40, 30


def rows(folder):
    """(inputs, digits) of training, validation and test rows; inputs standardised by the training rows."""
    tune, test = (numpy.loadtxt(folder / name, delimiter=",", skiprows=1, dtype=numpy.float32) for name in ("tune.csv", "test.csv"))
    cut = len(tune) - round(len(tune) / 4)
    mean, deviation = tune[:cut, :-1].mean(0), tune[:cut, :-1].std(0)
    scaled = lambda part: ((part[:, :-1] - mean) / numpy.where(deviation > 0, deviation, 1), part[:, -1].astype(numpy.int64))
    return scaled(tune[:cut]), scaled(tune[cut:]), scaled(test)


# Optuna


def optuna_search(folder, seed):
    import optuna
    import torch
    from torch import nn

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    parts = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in rows(folder)]
    began = time.process_time()
    reached, epochs, kept = [], 0, (0.0, None)

    def build(params):
        layers, width = [], 64
        for units in params["units"]:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(params["dropout"])]
            width = units
        return nn.Sequential(*layers, nn.Linear(width, 10))

    def training(params, x, y):
        """The model after each epoch."""
        model = build(params)
        kernels = [weights for weights in model.parameters() if weights.ndim > 1]
        biases = [weights for weights in model.parameters() if weights.ndim == 1]
        # λ Σw² has the gradient 2λw.
        groups = [{"params": kernels, "weight_decay": 2 * params["l2"]}, {"params": biases, "weight_decay": 0.0}]
        if params["optimizer"] == "adam":
            optimizer = torch.optim.Adam(groups, lr=params["learning_rate"], fused=True)
        else:
            optimizer = torch.optim.SGD(groups, lr=params["learning_rate"], momentum=params["momentum"], fused=True)
        loss_of = nn.CrossEntropyLoss()
        while True:
            model.train()
            for chosen in torch.randperm(len(x)).split(params["batch_size"]):
                optimizer.zero_grad(set_to_none=True)
                loss_of(model(x[chosen]), y[chosen]).backward()
                optimizer.step()
            yield model.eval()

    @torch.no_grad()
    def accuracy(model, part):
        return (model(part[0]).argmax(1) == part[1]).double().mean().item()

    def objective(trial):
        nonlocal epochs, kept
        params = {"units": [trial.suggest_int(f"units{k}", 16, 256, log=True) for k in range(trial.suggest_int("layers", 1, 3))]}
        params |= {"dropout": trial.suggest_float("dropout", 0.0, 0.5), "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)}
        params |= {"optimizer": trial.suggest_categorical("optimizer", ["adam", "sgd"]), "l2": trial.suggest_float("l2", 1e-7, 1e-2, log=True)}
        params["batch_size"] = trial.suggest_categorical("batch_size", [16, 32, 64, 128])
        if params["optimizer"] == "sgd":
            params["momentum"] = 1 - trial.suggest_float("1 - momentum", 0.01, 0.5, log=True)
        best = 0.0, None
        for step, model in enumerate(training(params, *parts[0]), start=1):
            now = accuracy(model, parts[1])
            epochs += 1
            reached.append([time.process_time() - began, now])
            if now > best[0]:
                best = now, (params, step, copy.deepcopy(model.state_dict()))
            trial.report(now, step)
            if step == EPOCHS:
                kept = max(kept, best, key=lambda found: found[0])
                return best[0]
            if trial.should_prune():
                raise optuna.TrialPruned

    torch.manual_seed(seed)
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner)
    study.optimize(objective, n_trials=TRIALS)
    spent = time.process_time() - began
    best, (params, step, weights) = kept
    model = build(params).eval()
    model.load_state_dict(weights)
    # What Luthier and scikit-learn do with their winners, outside the clock: once more on training and validation rows.
    both = (torch.cat([parts[0][0], parts[1][0]]), torch.cat([parts[0][1], parts[1][1]]))
    again = next(model for epoch, model in enumerate(training(params, *both), start=1) if epoch == step)
    return {
        "cpu_seconds": spent,
        "validation": best,
        "test": accuracy(again, parts[2]),
        "test_not_retrained": accuracy(model, parts[2]),
        "epochs": epochs,
        "reached": rising(reached),
        "version": f"Optuna {optuna.__version__}, PyTorch {torch.__version__}",
        "params": params,
    }


def rising(reached):
    """[CPU seconds, validation accuracy] at each new best."""
    found = []
    for seconds, value in reached:
        if not found or value > found[-1][1]:
            found.append([round(seconds, 3), value])
    return found


# scikit-learn


class Widths:
    """One to three hidden layers, their widths even on a log scale."""

    def rvs(self, random_state=None):
        layers = random_state.randint(1, 4)
        return tuple(int(round(2 ** random_state.uniform(4, 8))) for _ in range(layers))


def sklearn_search(folder, seed):
    import sklearn
    from scipy.stats import loguniform
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    train, validation, test = rows(folder)
    x, y = (numpy.concatenate(pair) for pair in zip(train, validation))
    began = time.process_time()
    fits = 0
    space = {
        "hidden_layer_sizes": Widths(),
        "solver": ["adam", "sgd"],
        "learning_rate_init": loguniform(1e-4, 1e-1),
        "momentum": 1 - numpy.geomspace(0.01, 0.5, 1000),
        "batch_size": [16, 32, 64, 128],
        # Its penalty is α/2 Σw² over the rows of a batch; dropout it has none.
        "alpha": loguniform(1e-5, 1.0),
    }
    search = HalvingRandomSearchCV(
        MLPClassifier(random_state=seed),
        space,
        n_candidates=TRIALS,
        resource="max_iter",
        min_resources=3,
        max_resources=EPOCHS,
        cv=PredefinedSplit([-1] * len(train[1]) + [0] * len(validation[1])),
        random_state=seed,
    ).fit(x, y)
    fits = sum(search.n_candidates_) + 1
    return {
        "cpu_seconds": time.process_time() - began,
        "validation": float(search.best_score_),
        "test": float(search.score(*test)),
        "fits": fits,
        "version": f"scikit-learn {sklearn.__version__}",
        "params": {name: str(value) for name, value in search.best_params_.items()},
    }


if __name__ == "__main__":
    side, folder, seed = sys.argv[1:]
    print(json.dumps({"optuna": optuna_search, "sklearn": sklearn_search}[side](Path(folder), int(seed))))
