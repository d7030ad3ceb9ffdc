"""What several test files need: a small space of every kind of parameter, and an objective over it."""

import pytest

import luthier


@pytest.fixture
def space():
    return luthier.Space(
        [
            luthier.Float("lr", 1e-5, 1e-1, log=True),
            luthier.Float("momentum", 0.0, 1.0, when={"param": "optimizer", "eq": "sgd"}),
            luthier.Int("layers", 1, 4),
            luthier.Int("units", 8, 256, log=True, repeat="layers"),
            luthier.Categorical("optimizer", ["sgd", "adam", "rmsprop"]),
            luthier.Ordinal("batch", [16, 32, 64]),
            luthier.Bool("nesterov", when={"param": "optimizer", "eq": "sgd"}),
            luthier.Fixed("epochs", 3),
        ]
    )


def loss(params):
    return (params["lr"] - 0.01) ** 2 + params["layers"] + params.get("momentum", 0.5)


@pytest.fixture
def objective():
    return loss
