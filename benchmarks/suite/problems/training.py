"""Real, small training jobs on the data sets that come with scikit-learn: SVMs, boosted trees, forests, networks, linear models.

A trial is one cross-validation whose folds (and, where the model has one, whose random start) depend on the seed, so the value is noisy. What
a result is worth is its mean over three other, fixed sets of folds. A trial costs between 10 and 500 milliseconds of CPU.
"""

import time
from functools import lru_cache

from .base import Problem

FIXED_FOLDS = (90001, 90002, 90003)


class Training(Problem):
    """`build(params, seed)` makes an estimator; `metric` is scikit-learn's name of a score, larger is better."""

    known_points = 400

    def __init__(self, name, data, space, build, metric="accuracy", rows=None):
        super().__init__(name=name, family="training", space=space, objectives=[{"name": metric, "direction": "max"}], noisy=True)
        self.data, self.build, self.metric, self.rows = data, build, metric, rows

    def evaluate(self, params, budget=None, seed=0):
        begin = time.process_time()
        value = self.cross_validated(params, seed)
        return {"values": None if value is None else [value], "seconds": time.process_time() - begin}

    def truth(self, params):
        values = [self.cross_validated(params, seed) for seed in FIXED_FOLDS]
        return [sum(values) / len(values) if None not in values else float("nan")]

    def cross_validated(self, params, seed):
        import warnings

        import numpy
        from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

        features, target = dataset(self.data, self.rows)
        folds = (KFold if self.metric == "r2" else StratifiedKFold)(3, shuffle=True, random_state=seed % 2**31)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = cross_val_score(self.build(params, seed % 2**31), features, target, cv=folds, scoring=self.metric, error_score=numpy.nan)
        mean = float(scores.mean())
        return mean if mean == mean else None


@lru_cache(None)
def dataset(name, rows):
    import numpy
    from sklearn import datasets

    features, target = getattr(datasets, f"load_{name}")(return_X_y=True)
    if rows:
        chosen = numpy.random.RandomState(0).permutation(len(target))[:rows]
        features, target = features[chosen], target[chosen]
    return features, target


def number(name, low, high, log=False, **more):
    return {"name": name, "type": "float", "low": low, "high": high, **({"log": True} if log else {}), **more}


def whole(name, low, high, log=False, **more):
    return {"name": name, "type": "int", "low": low, "high": high, **({"log": True} if log else {}), **more}


def choice(name, choices, **more):
    return {"name": name, "type": "categorical", "choices": choices, **more}


def when(parent, *values):
    return {"condition": {"parent": parent, "values": list(values)}}


def scaled(estimator):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), estimator)


SVM = [
    number("C", 1e-3, 1e4, log=True),
    choice("kernel", ["linear", "rbf", "poly", "sigmoid"]),
    number("gamma", 1e-6, 10.0, log=True, **when("kernel", "rbf", "poly", "sigmoid")),
    whole("degree", 2, 5, **when("kernel", "poly")),
    number("coef0", -1.0, 1.0, **when("kernel", "poly", "sigmoid")),
]


def svm(params, seed):
    from sklearn.svm import SVC

    return scaled(SVC(**params, max_iter=5000, random_state=seed))


MLP = [
    number("learning_rate_init", 1e-5, 0.3, log=True),
    number("alpha", 1e-7, 1.0, log=True),
    whole("width", 4, 128, log=True),
    whole("depth", 1, 3),
    whole("batch_size", 8, 256, log=True),
    choice("activation", ["relu", "tanh", "logistic"]),
    number("beta_1", 0.5, 0.999),
]


def mlp(params, seed):
    from sklearn.neural_network import MLPClassifier

    settings = dict(params)
    layers = (settings.pop("width"),) * settings.pop("depth")
    return scaled(MLPClassifier(layers, max_iter=12, random_state=seed, **settings))


FOREST = [
    whole("n_estimators", 4, 64, log=True),
    whole("max_depth", 1, 20),
    whole("min_samples_leaf", 1, 40, log=True),
    number("max_features", 0.02, 1.0),
    choice("criterion", ["gini", "entropy"]),
    choice("bootstrap", [False, True]),
    number("max_samples", 0.1, 1.0, **when("bootstrap", True)),
]


def forest(params, seed):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(random_state=seed, n_jobs=1, **params)


BOOSTING = [
    number("learning_rate", 1e-3, 1.0, log=True),
    whole("n_estimators", 5, 100, log=True),
    whole("max_depth", 1, 8),
    number("subsample", 0.2, 1.0),
    number("max_features", 0.1, 1.0),
    whole("min_samples_leaf", 1, 50, log=True),
    choice("loss", ["squared_error", "absolute_error", "huber"]),
    number("alpha", 0.5, 0.99, **when("loss", "huber")),
]


def boosting(params, seed):
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(random_state=seed, **params)


ELASTIC = [
    number("alpha", 1e-5, 10.0, log=True),
    number("l1_ratio", 0.0, 1.0),
    whole("polynomial", 1, 2),
    choice("scaling", ["standard", "robust", "none"]),
]


def elastic(params, seed):
    from sklearn.linear_model import ElasticNet
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, RobustScaler, StandardScaler

    scaling = {"standard": [StandardScaler()], "robust": [RobustScaler()], "none": []}[params["scaling"]]
    model = ElasticNet(alpha=params["alpha"], l1_ratio=params["l1_ratio"], max_iter=500, random_state=seed)
    return make_pipeline(PolynomialFeatures(params["polynomial"], include_bias=False), *scaling, model)


# Which model at all, each with its own parameters.
ANY = [
    choice("model", ["svm", "forest", "neighbours", "logistic"]),
    number("svm_C", 1e-3, 1e4, log=True, **when("model", "svm")),
    number("svm_gamma", 1e-6, 10.0, log=True, **when("model", "svm")),
    whole("forest_depth", 1, 16, **when("model", "forest")),
    number("forest_features", 0.05, 1.0, **when("model", "forest")),
    whole("neighbours_k", 1, 60, log=True, **when("model", "neighbours")),
    whole("neighbours_p", 1, 3, **when("model", "neighbours")),
    number("logistic_C", 1e-4, 1e4, log=True, **when("model", "logistic")),
]


def any_model(params, seed):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    if params["model"] == "svm":
        return scaled(SVC(C=params["svm_C"], gamma=params["svm_gamma"], max_iter=5000))
    if params["model"] == "forest":
        return RandomForestClassifier(
            30, max_depth=params["forest_depth"], max_features=params["forest_features"], random_state=seed, n_jobs=1
        )
    if params["model"] == "neighbours":
        return scaled(KNeighborsClassifier(params["neighbours_k"], p=params["neighbours_p"]))
    return scaled(LogisticRegression(C=params["logistic_C"], max_iter=200))


def problems():
    kinds = {
        "training-svm-digits": ("digits", SVM, svm, "accuracy", 500),
        "training-svm-wine": ("wine", SVM, svm, "accuracy", None),
        "training-mlp-digits": ("digits", MLP, mlp, "accuracy", 500),
        "training-mlp-breast_cancer": ("breast_cancer", MLP, mlp, "accuracy", 300),
        "training-forest-digits": ("digits", FOREST, forest, "accuracy", 500),
        "training-boosting-diabetes": ("diabetes", BOOSTING, boosting, "r2", None),
        "training-elastic-diabetes": ("diabetes", ELASTIC, elastic, "r2", None),
        "training-any-breast_cancer": ("breast_cancer", ANY, any_model, "accuracy", None),
    }
    return {name: lambda name=name, kind=kind: Training(name, *kind) for name, kind in kinds.items()}
