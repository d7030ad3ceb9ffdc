"""The optimisers, one file each, found by file name. See `README.md` for how to add one."""

import ast
import importlib
from functools import partial
from pathlib import Path

from .base import Optimizer

__all__ = ["Optimizer", "available", "find"]

NOT_OPTIMIZERS = {"__init__", "base"}


def files():
    """Names of all optimisers, installed or not."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_OPTIMIZERS and not p.stem.startswith("_"))


def names():
    """"file:variant" of all optimisers, installed or not, as their sources say: peers are installed in environments of their own."""
    sources = {file: (Path(__file__).parent / f"{file}.py").read_text() for file in files()}
    return [f"{file}:{variant}" for file, source in sources.items() for variant in variants_in(source)]


def variants_in(source):
    """`Optimizer.variants` in the source of an optimiser's file, where the file's own constants are enough to tell; else none."""
    tree = ast.parse(source)
    known = {}
    for target, value in assigned(tree.body):
        try:
            known[target] = ast.literal_eval(value)
        except ValueError:
            continue
    own = next(entry for entry in tree.body if isinstance(entry, ast.ClassDef) and entry.name == "Optimizer")
    value = dict(assigned(own.body)).get("variants")
    if value is None:
        return Optimizer.variants
    try:
        return eval(compile(ast.Expression(value), "variants", "eval"), {"__builtins__": {}}, known)
    except NameError:
        return ()


def assigned(body):
    """(name, value) of each plain assignment."""
    plain = [entry for entry in body if isinstance(entry, ast.Assign) and isinstance(entry.targets[0], ast.Name)]
    return [(entry.targets[0].id, entry.value) for entry in plain]


def find(name):
    """(class, variant) of "file" or "file:variant"; `ValueError` if there is no such one, `ImportError` if it is not installed."""
    file, _, variant = name.partition(":")
    if file not in files():
        raise ValueError(f"no optimiser {file!r}; there are: {', '.join(files())}")
    kind = importlib.import_module(f"{__name__}.{file}").Optimizer
    variant = variant or kind.variants[0]
    if not kind.has(variant):
        raise ValueError(f"{file} has no variant {variant!r}; it has: {', '.join(kind.variants)}")
    return kind, variant


def factory(name):
    """A function (space, objectives, seed, budget_trials) -> Optimizer."""
    kind, variant = find(name)
    return partial(kind, variant=variant)


def available():
    """{"file:variant": version} of what can be imported here, and {file: reason} of what cannot."""
    found, missing = {}, {}
    for file in files():
        try:
            kind, _ = find(file)
            version = kind.version()
        except Exception as error:  # whatever a third package raises on import
            missing[file] = f"{type(error).__name__}: {error}"
            continue
        found |= {f"{file}:{variant}": version for variant in kind.variants}
    return found, missing
