"""Real training runs, recorded or modelled: the 42 tasks of `suite.json`, and every other instance and target the YAHPO models know.

Choices made here, the same for every optimiser:
* Tables: a parameter's listed values are an ordinal; strings are a categorical. The value of a configuration is the mean over its
  recorded seeds; "<name>-noisy" draws one of them instead, and is judged by the mean.
* Curves and pools are finite samples of a continuous space. The optimiser proposes anywhere in that space and gets the
  nearest recorded row: Euclidean distance after each parameter is scaled to [0, 1] on its own scale (as Syne Tune does for the
  same data).
* Curves: a run that diverged, or ended above the loss of an untrained network, counts as the median loss before training.
* Trees: accuracies are capped at 1, since the models extrapolate beyond it.
* YAHPO: full fidelity is epoch 52 or trainsize 1.0; `repl` is always 10.
"""

import math
from functools import lru_cache

import numpy as np

from . import source
from .base import Problem

YAHPO_FIDELITY = {
    "lcbench": {"name": "epoch", "type": "int", "low": 1, "high": 52, "continues": True},
    "rbv2_xgboost": {"name": "trainsize", "type": "float", "low": 0.03, "high": 1.0, "continues": False},
    "rbv2_rpart": {"name": "trainsize", "type": "float", "low": 0.03, "high": 1.0, "continues": False},
}
YAHPO_FIXED = {"repl": 10}


def objective(name, direction):
    return [{"name": name, "direction": direction}]


class Yahpo(Problem):
    """An instance of a YAHPO Gym scenario: a neural network fitted to many thousand real runs."""

    def __init__(self, scenario, instance, target):
        spec, _ = source.yahpo(scenario)
        fidelity = YAHPO_FIDELITY[scenario]
        minimize = spec["y_minimize"][spec["y"].index(target)]
        super().__init__(
            name=f"{scenario}-{instance}-{target}",
            family=scenario,
            space=yahpo_space(spec, [fidelity["name"], *YAHPO_FIXED, spec["instance"]]),
            objectives=objective(target, "min" if minimize else "max"),
            fidelity=fidelity,
        )
        self.spec, self.scenario, self.instance = spec, scenario, str(instance)
        self.target = spec["y"].index(target)
        self.seconds = spec["y"].index("time" if "time" in spec["y"] else "timetrain")
        if self.instance not in spec["encoding"][spec["instance"]]:
            raise KeyError(f"{scenario} has no instance {instance}")

    def evaluate(self, params, budget=None, seed=0):
        full = self.fidelity["high"]
        budget = full if budget is None else budget
        budgets = range(1, int(budget) + 1) if self.fidelity["continues"] and budget != full else [budget]
        return self.result(self.predict(params, budgets), budgets)

    def curve(self, params):
        """The whole learning curve, [(budget, value), ...]; only where a run can go on."""
        budgets = range(1, self.fidelity["high"] + 1)
        return self.result(self.predict(params, budgets), budgets)["curve"]

    def result(self, rows, budgets):
        values = [float(row[self.target]) for row in rows]
        return {
            "values": [values[-1]],
            "seconds": float(rows[-1][self.seconds]),
            "curve": list(zip(budgets, values)),
        }

    def predict(self, params, budgets):
        """Raw outputs of the model, one row for each budget."""
        codes = self.spec["encoding"]
        fixed = {**YAHPO_FIXED, self.spec["instance"]: self.instance, **params}
        # Inactive parameters: code 0 (`#na#`) and 0.0, as the models were fitted.
        cat = [codes[name][fixed[name]] if name in fixed else 0 for name in self.spec["x_cat"]]
        cont = np.array([[float(fixed.get(name, 0.0)) for name in self.spec["x_cont"]]] * len(budgets), dtype=np.float32)
        cont[:, self.spec["x_cont"].index(self.fidelity["name"])] = list(budgets)
        cat = np.array([cat] * len(budgets), dtype=np.int32)
        session = onnx_session(self.scenario)
        inputs = {node.name: cat if "cat" in node.name else cont for node in session.get_inputs()}
        return session.run(None, inputs)[0]


def yahpo_space(spec, without):
    """The scenario's parameters in its own order, parents first."""
    conditions = {}
    for condition in spec["conditions"]:
        values = condition.get("values") or [condition["value"]]
        conditions[condition["child"]] = {"parent": condition["parent"], "values": values}
    space = []
    for entry in spec["hyperparameters"]:
        if entry["name"] in without:
            continue
        parameter = {"name": entry["name"]}
        if entry["type"] == "categorical":
            parameter |= {"type": "categorical", "choices": entry["choices"]}
        else:
            parameter |= {"type": entry["type"].removeprefix("uniform_"), "low": entry["lower"], "high": entry["upper"]}
            parameter |= {"log": True} if entry["log"] else {}
        if entry["name"] in conditions:
            parameter["condition"] = conditions[entry["name"]]
        space.append(parameter)
    return sorted(space, key=lambda parameter: "condition" in parameter)


@lru_cache(None)
def onnx_session(scenario):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(source.yahpo(scenario)[1], options, providers=["CPUExecutionProvider"])


class Table(Problem):
    """Every configuration of a grid, really trained with several seeds."""

    def __init__(self, model, noisy=False):
        spec, values, seconds = source.table(model)
        direction = spec["directions"][spec["main"]].removesuffix("imize")
        super().__init__(
            name=f"{model}-noisy" if noisy else model,
            family="tables-noisy" if noisy else "tables",
            space=[table_parameter(name, entry) for name, entry in spec["params"].items()],
            objectives=objective(spec["main"], direction),
            noisy=noisy,
        )
        self.values, self.seconds = values, seconds
        self.means = np.nanmean(values, axis=1)

    def row(self, params):
        """Mixed radix over the parameters, the last fastest."""
        row = 0
        for parameter in self.space:
            row = row * len(parameter["choices"]) + parameter["choices"].index(params[parameter["name"]])
        return row

    def evaluate(self, params, budget=None, seed=0):
        row = self.row(params)
        mean = float(self.means[row])
        result = {"values": [mean], "seconds": float(self.seconds[row])}
        if self.noisy:
            recorded = [value for value in self.values[row] if not math.isnan(value)]
            result["values"] = [float(recorded[seed % len(recorded)])]
        return result

    def truth(self, params):
        return [float(self.means[self.row(params)])]


def table_parameter(name, entry):
    kind = "categorical" if entry["type"] == "str" else "ordinal"
    return {"name": name, "type": kind, "choices": entry["choices"]}


class Nearest(Problem):
    """A space known at the rows of a finite sample only."""

    def keep_rows(self, columns):
        """`columns`: one array per parameter of `space`, in its units."""
        self.rows = np.stack([self.scaled(p, column) for p, column in zip(self.space, columns)], axis=1)

    def nearest(self, params):
        point = np.array([self.scaled(p, params[p["name"]]) for p in self.space])
        return int(np.argmin(((self.rows - point) ** 2).sum(axis=1)))

    @staticmethod
    def scaled(parameter, value):
        low, high = parameter["low"], parameter["high"]
        if parameter.get("log"):
            low, high, value = np.log(low), np.log(high), np.log(value)
        return (np.asarray(value) - low) / (high - low)


TASKSET_SPACE = [
    {"name": "learning_rate", "type": "float", "low": 1e-8, "high": 10.0, "log": True},
    {"name": "one_minus_beta1", "type": "float", "low": 1e-4, "high": 1.0, "log": True},
    {"name": "one_minus_beta2", "type": "float", "low": 1e-6, "high": 1.0, "log": True},
    {"name": "epsilon", "type": "float", "low": 1e-10, "high": 1e3, "log": True},
    {"name": "l1", "type": "float", "low": 1e-8, "high": 10.0, "log": True},
    {"name": "l2", "type": "float", "low": 1e-8, "high": 10.0, "log": True},
    {"name": "linear_decay", "type": "float", "low": 1e-7, "high": 1e-4, "log": True},
    {"name": "exponential_decay", "type": "float", "low": 1e-6, "high": 1e-3, "log": True},
]


class Curves(Nearest):
    """TaskSet: validation loss of text networks under 1,000 settings of Adam, 51 points a run."""

    def __init__(self, model):
        configs, losses = source.curves(model)
        super().__init__(
            name=f"taskset-{model}",
            family="curves",
            space=TASKSET_SPACE,
            objectives=objective("valid_loss", "min"),
            fidelity={"name": "point", "type": "int", "low": 1, "high": 51, "continues": True},
        )
        # The values of each parameter of the space in every run.
        self.columns = list(configs.T)
        self.columns[1], self.columns[2] = 1.0 - self.columns[1], 1.0 - self.columns[2]
        self.keep_rows(self.columns)
        untrained = float(np.nanmedian(losses[:, 0]))
        self.losses = np.minimum(np.nan_to_num(losses, nan=untrained, posinf=untrained), untrained)

    def evaluate(self, params, budget=None, seed=0):
        points = self.fidelity["high"] if budget is None else int(budget)
        curve = [float(loss) for loss in self.losses[self.nearest(params), :points]]
        return {"values": [curve[-1]], "seconds": None, "curve": list(enumerate(curve, 1))}

    def curve(self, params):
        """The whole learning curve, [(budget, value), ...]."""
        return self.evaluate(params)["curve"]


class Pool(Nearest):
    """5,000 XGBoost configurations on one table (Salinas et al. 2020). Columns named log2 are logarithms already."""

    def __init__(self, model):
        names, configs, error = source.pool(model)
        super().__init__(
            name=f"pool-{model}",
            family="pool",
            space=[pool_parameter(name, column) for name, column in zip(names, configs.T)],
            objectives=objective("error", "min"),
        )
        self.keep_rows(configs.T)
        self.error = error

    def evaluate(self, params, budget=None, seed=0):
        return {"values": [float(self.error[self.nearest(params)])], "seconds": None}


def pool_parameter(name, column):
    if name.endswith("index"):
        return {"name": name, "type": "int", "low": int(column.min()), "high": int(column.max())}
    return {"name": name, "type": "float", "low": float(column.min()), "high": float(column.max())}


class Trees(Problem):
    """A small convolutional network on MNIST (Ax's surrogate): dropout and weight decay exist only when switched on."""

    # Which of the four models, and its features in order, for (dropout used, weight decay used).
    MODELS = {
        (False, False): (0, ["learning_rate"]),
        (False, True): (1, ["learning_rate", "weight_decay"]),
        (True, False): (2, ["learning_rate", "dropout"]),
        (True, True): (3, ["learning_rate", "dropout", "weight_decay"]),
    }

    def __init__(self):
        used = lambda parent: {"parent": parent, "values": [True]}
        super().__init__(
            name="trees-mnist",
            family="trees",
            space=[
                {"name": "learning_rate", "type": "float", "low": 1e-5, "high": 1.0, "log": True},
                {"name": "use_dropout", "type": "categorical", "choices": [False, True]},
                {"name": "use_weight_decay", "type": "categorical", "choices": [False, True]},
                {"name": "dropout", "type": "float", "low": 0.1, "high": 0.5, "condition": used("use_dropout")},
                {"name": "weight_decay", "type": "float", "low": 1e-5, "high": 1.0, "log": True, "condition": used("use_weight_decay")},
            ],
            objectives=objective("accuracy", "max"),
        )

    def evaluate(self, params, budget=None, seed=0):
        model, names = self.MODELS[params["use_dropout"], params["use_weight_decay"]]
        features = [np.float32(params[name]) for name in names]
        base, trees = source.trees()[model]
        return {"values": [min(base + sum(leaf(tree, features) for tree in trees), 1.0)], "seconds": None}


def leaf(tree, features):
    feature, threshold, left, right = tree
    node = 0
    while left[node] >= 0:
        node = left[node] if features[feature[node]] < np.float32(threshold[node]) else right[node]
    return threshold[node]
