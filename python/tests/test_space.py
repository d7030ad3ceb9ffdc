"""Spaces: every way to declare one leads to the same checks and the same texts."""

import pytest

import luthier


def test_all_ways_of_declaring_agree():
    built = luthier.Space([luthier.Float("lr", 1e-5, 1e-1, scale="log", default=1e-3)])
    document = {"params": {"lr": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log", "default": 1e-3}}}
    toml = '[params.lr]\ntype = "float"\nlow = 1e-5\nhigh = 1e-1\nscale = "log"\ndefault = 1e-3\n'
    json = '{"params": {"lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": true, "default": 0.001}}}'
    assert built == luthier.Space.from_dict(document)
    assert built == luthier.Space.from_toml(toml)
    assert built == luthier.Space.from_json(json)
    assert built != luthier.Space([luthier.Float("lr", 1e-5, 1e-1)])


def test_a_space_says_what_it_holds(space):
    assert space.names == [
        "lr", "momentum", "layers", "units[1]", "units[2]", "units[3]", "units[4]", "optimizer", "batch", "nesterov",
        "epochs",
    ]
    assert len(space) == 11
    assert "units[4]" in space and "units" not in space
    assert repr(space).startswith("Space(lr, momentum, layers")


def test_defaults_have_python_types():
    space = luthier.Space(
        [
            luthier.Float("x", 0, 1, default=0.25),
            luthier.Int("n", 1, 9, default=3),
            luthier.Bool("b", default=True),
            luthier.Categorical("c", ["a", 2, 2.5, False], default=False),
            luthier.Fixed("f", "text"),
        ]
    )
    defaults = space.default()
    assert defaults == {"x": 0.25, "n": 3, "b": True, "c": False, "f": "text"}
    assert [type(value) for value in defaults.values()] == [float, int, bool, bool, str]


def test_inactive_parameters_are_absent(space, objective):
    study = luthier.Study(space, sampler="random", trials=60)
    seen = set()
    while (trial := study.ask()) is not None:
        params = trial.params
        assert ("momentum" in params) == (params["optimizer"] == "sgd") == ("nesterov" in params)
        assert [f"units[{k}]" in params for k in range(1, 5)] == [k <= params["layers"] for k in range(1, 5)]
        assert params["batch"] in (16, 32, 64) and type(params["batch"]) is int
        assert params["epochs"] == 3
        seen.add(params["optimizer"])
        trial.tell(objective(params))
    assert seen == {"sgd", "adam", "rmsprop"}


def test_constraints_hold():
    space = luthier.Space(
        [luthier.Int("a", 1, 8), luthier.Int("b", 1, 8)],
        constraints=[{"require": {"param": "a", "lt": {"param": "b"}}}, {"linear": {"weights": {"a": 1, "b": 1}, "at_most": 10}}],
    )
    for trial in luthier.Study(space, sampler="random").ask(20):
        assert trial["a"] < trial["b"]
        assert trial["a"] + trial["b"] <= 10
    space.check({"a": 2, "b": 3})
    with pytest.raises(luthier.SpaceError, match=r"^constraint 1: a=3 b=2 breaks it$"):
        space.check({"a": 3, "b": 2})


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (
            lambda: luthier.Space([luthier.Int("layers", 3, 1)]),
            'parameter "layers", low: low = 3 is above high = 1; swap them',
        ),
        (
            lambda: luthier.Space([luthier.Int("n", 1.5, 3)]),
            'parameter "n", low: 1.5 is not a whole number within ±2^53; an int takes only those',
        ),
        (
            lambda: luthier.Space([luthier.Float("x", 0, 1), luthier.Float("x", 0, 2)]),
            'params.x: "x" is declared twice; rename one of them',
        ),
        (
            lambda: luthier.Space([luthier.Float("x", 0, 1)], constraints=[{"limit": 3}]),
            "constraints.0.limit: unknown field `limit`, expected one of `forbid`, `require`, `linear`, `product`",
        ),
        (
            lambda: luthier.Space.from_toml('[params.lr]\ntype = "float"\nlow = 1\n'),
            'line 1, column 9: parameter "lr", high: a float parameter needs high; add it\n    1 | [params.lr]',
        ),
    ],
)
def test_errors_are_those_of_space_files(declare, text):
    with pytest.raises(luthier.SpaceError) as raised:
        declare()
    assert str(raised.value) == text
    assert isinstance(raised.value, luthier.LuthierError) and isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("declare", "error", "text"),
    [
        (
            lambda: luthier.Float("lr", 0, float("inf")),
            ValueError,
            'parameter "lr", high: inf is not a finite number',
        ),
        (
            lambda: luthier.Float("lr", None, 1),
            TypeError,
            'parameter "lr", low must be True, False, a number, a text, a list or a dict, not None',
        ),
        (
            lambda: luthier.Categorical("act", "relu"),
            TypeError,
            'parameter "act", choices must be a list of values, not str',
        ),
        (
            lambda: luthier.Categorical("act", ["relu", None]),
            TypeError,
            'parameter "act", choices[1] must be True, False, a number, a text, a list or a dict, not None',
        ),
        (
            lambda: luthier.Int("n", 1, 2**70),
            ValueError,
            f'parameter "n", high: {2**70} is too large an integer',
        ),
        (
            lambda: luthier.Space([3]),
            TypeError,
            "parameters must be a list of luthier.Float, Int, Bool, Categorical, Ordinal and Fixed, not int",
        ),
        (
            lambda: luthier.Space("lr"),
            TypeError,
            "parameters must be a list of luthier.Float, Int, Bool, Categorical, Ordinal and Fixed, not str; "
            "Space.from_dict, Space.from_toml and Space.from_json take whole declarations",
        ),
        (
            lambda: luthier.Space([luthier.Float("x", 0, 1)], constraints="x < 1"),
            TypeError,
            "constraints must be a list of dicts, not str",
        ),
        (
            lambda: luthier.Study("lr"),
            TypeError,
            "space must be a luthier.Space, a list of parameters, or a dict, not str",
        ),
    ],
)
def test_wrong_types_are_named(declare, error, text):
    with pytest.raises(error) as raised:
        declare()
    assert str(raised.value) == text


def test_scalars_of_other_libraries_are_numbers():
    class Whole:
        def __index__(self):
            return 4

    class Real:
        def __float__(self):
            return 0.5

    space = luthier.Space([luthier.Int("n", Whole(), 8), luthier.Float("x", Real(), 1)])
    assert space == luthier.Space([luthier.Int("n", 4, 8), luthier.Float("x", 0.5, 1)])


def test_numpy_scalars_are_values():
    numpy = pytest.importorskip("numpy")
    choices = list(numpy.array([1, 2, 3]))
    space = luthier.Space([luthier.Categorical("c", choices), luthier.Fixed("f", numpy.bool_(True))])
    assert space.default()["f"] is True
    study = luthier.Study(space)
    assert study.tell(study.ask(), numpy.float32(0.5)) == "completed"
    assert study.best_value == 0.5


def test_a_parameter_shows_itself():
    assert repr(luthier.Int("n", 1, 3)) == 'Parameter("n", {"type":"int","low":1,"high":3})'
    assert luthier.Int("n", 1, 3) == luthier.Int("n", 1, 3) != luthier.Int("n", 1, 4)
    assert luthier.Int("n", 1, 3).name == "n"
