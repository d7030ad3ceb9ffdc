"""The stub names exactly what the native part has, with the same parameters."""

import ast
import inspect
from pathlib import Path

import luthier
from luthier import _core

STUB = ast.parse((Path(__file__).resolve().parents[1] / "luthier" / "_core.pyi").read_text(encoding="utf-8"))
OPERATORS = {"__eq__", "__repr__", "__new__", "__module__", "__doc__"}


def signature_names(function):
    arguments = function.args
    return [argument.arg for argument in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]


def own_names(cls):
    hidden = {name for name in vars(cls) if name.startswith("__")} - {
        "__len__", "__contains__", "__getitem__", "__bool__", "__enter__", "__exit__",
    }
    return set(vars(cls)) - hidden


def test_module_names_agree():
    declared = {node.name for node in STUB.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))} | {"__version__"}
    native = {name for name in dir(_core) if not name.startswith("__")} | {"__version__"}
    assert declared == native == set(luthier.__all__)


def test_functions_have_the_parameters_of_the_stub():
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            assert list(inspect.signature(getattr(_core, node.name)).parameters) == signature_names(node), node.name


def test_classes_have_the_members_of_the_stub():
    for node in STUB.body:
        if not isinstance(node, ast.ClassDef) or node.name.endswith("Error"):
            continue
        cls = getattr(_core, node.name)
        members = {child.name: child for child in node.body if isinstance(child, ast.FunctionDef)}
        assert set(members) - {"__new__"} == own_names(cls), node.name
        for name, child in members.items():
            if isinstance(inspect.getattr_static(cls, name), type(Space_names := vars(_core.Space)["names"])):
                continue
            if name.startswith("__"):
                continue
            native = list(inspect.signature(getattr(cls, name)).parameters)
            declared = signature_names(child)
            is_static = any(getattr(d, "id", "") == "staticmethod" for d in child.decorator_list)
            assert native == declared if is_static else native[1:] == declared[1:], f"{node.name}.{name}"


def test_everything_is_documented():
    for name in luthier.__all__:
        if name != "__version__":
            assert getattr(luthier, name).__doc__, name
    for cls in (luthier.Space, luthier.Study, luthier.Trial, luthier.Parameter):
        for name in own_names(cls):
            assert inspect.getdoc(vars(cls)[name]), f"{cls.__name__}.{name}"
