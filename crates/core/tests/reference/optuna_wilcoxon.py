"""Optuna's WilcoxonPruner on pairs of trials: after how many values it stops the second. Run: python3 optuna_wilcoxon.py > optuna_wilcoxon.json"""

import json
import warnings

import numpy as np
import optuna

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
rng = np.random.default_rng(7)
cases = []
for n in [5, 6, 8, 10]:
    for shift in [-0.5, 0.0, 0.5, 1.0, 2.0]:
        for rounding in [6, 1]:
            best = np.round(rng.normal(0, 1, n), rounding)
            trial = np.round(best + rng.normal(shift, 0.7, n), rounding)
            study = optuna.create_study(pruner=optuna.pruners.WilcoxonPruner())
            first = study.ask()
            for k, x in enumerate(best):
                first.report(float(x), k)
            study.tell(first, float(best.mean()))
            second = study.ask()
            stops = {}
            for k, x in enumerate(trial):
                second.report(float(x), k)
                stops[k + 1] = bool(second.should_prune())
            cases.append({"best": [float(x) for x in best], "trial": [float(x) for x in trial], "stops": stops})
print(json.dumps(cases))
