"""Luthier tunes hyperparameters: ask a study what to try, tell it what came of it.

Everything here is the native part, named again. What is sugar (define-by-run, decorators, integrations) belongs into modules
beside this one that use only these names.
"""

from ._core import (
    Bool,
    Categorical,
    Fixed,
    Float,
    Int,
    LuthierError,
    Ordinal,
    Parameter,
    PolicyError,
    Space,
    SpaceError,
    StorageError,
    Study,
    StudyError,
    Trial,
    __version__,
    samplers,
    schedulers,
)

__all__ = [
    "Bool",
    "Categorical",
    "Fixed",
    "Float",
    "Int",
    "LuthierError",
    "Ordinal",
    "Parameter",
    "PolicyError",
    "Space",
    "SpaceError",
    "StorageError",
    "Study",
    "StudyError",
    "Trial",
    "__version__",
    "samplers",
    "schedulers",
]
