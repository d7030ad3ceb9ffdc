"""The native part of Luthier: conversions around the engine. Import these names from `luthier`."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, SupportsFloat, Union, final, overload

from typing_extensions import Self, TypeAlias

__version__: str

Value: TypeAlias = Union[bool, int, float, str]
"""What a parameter can be. NumPy's scalars are taken too."""
Values: TypeAlias = Union[SupportsFloat, Sequence[SupportsFloat], Mapping[str, SupportsFloat]]
"""A number for the only objective, one per objective in their order, or numbers by the names of metrics."""
Component: TypeAlias = Union[str, tuple[str, Mapping[str, Any]], Mapping[str, Any]]
"""A sampler or scheduler: its name, (name, options), or a dict with "name" and the options."""
Decision: TypeAlias = Literal["continue", "pause", "stop", "gone"]
Standing: TypeAlias = Literal["completed", "paused", "pruned", "cancelled", "failed", "replaced"]
Kind: TypeAlias = Literal["error", "crash", "timeout", "memory", "nonfinite", "not_started"]

class LuthierError(Exception):
    """Whatever Luthier raises itself."""

class SpaceError(LuthierError, ValueError):
    """A declaration of a space is wrong, or params do not fit it."""

class PolicyError(LuthierError, ValueError):
    """There is no such sampler or scheduler, or its options are wrong."""

class StorageError(LuthierError):
    """The study's file cannot be read or written."""

class StudyError(LuthierError):
    """What was asked of a study or a trial cannot be done."""

@final
class Parameter:
    """One parameter of a space, as declared."""

    @property
    def name(self) -> str: ...

def Float(
    name: str,
    low: float,
    high: float,
    *,
    log: bool | None = None,
    scale: Literal["linear", "log", "log1m"] | None = None,
    step: float | None = None,
    default: float | None = None,
    prior: Mapping[str, Any] | None = None,
    when: Mapping[str, Any] | None = None,
    repeat: str | int | None = None,
) -> Parameter:
    """Numbers between `low` and `high`, both included."""

def Int(
    name: str,
    low: int,
    high: int,
    *,
    log: bool | None = None,
    scale: Literal["linear", "log", "log1m"] | None = None,
    step: int | None = None,
    default: int | None = None,
    prior: Mapping[str, Any] | None = None,
    when: Mapping[str, Any] | None = None,
    repeat: str | int | None = None,
) -> Parameter:
    """Whole numbers between `low` and `high`, both included."""

def Bool(
    name: str,
    *,
    default: bool | None = None,
    prior: Mapping[str, Any] | None = None,
    when: Mapping[str, Any] | None = None,
    repeat: str | int | None = None,
) -> Parameter:
    """`True` or `False`."""

def Categorical(
    name: str,
    choices: Iterable[Value],
    *,
    default: Value | None = None,
    prior: Mapping[str, Any] | None = None,
    when: Mapping[str, Any] | None = None,
    repeat: str | int | None = None,
) -> Parameter:
    """Choices without an order."""

def Ordinal(
    name: str,
    levels: Iterable[Value],
    *,
    default: Value | None = None,
    prior: Mapping[str, Any] | None = None,
    when: Mapping[str, Any] | None = None,
    repeat: str | int | None = None,
) -> Parameter:
    """Levels from low to high."""

def Fixed(
    name: str,
    value: Value,
    *,
    when: Mapping[str, Any] | None = None,
    repeat: str | int | None = None,
) -> Parameter:
    """One value, passed on as it is."""

@final
class Space:
    """A search space, checked when it is made."""

    def __new__(
        cls,
        parameters: Iterable[Parameter],
        constraints: Iterable[Mapping[str, Any]] | None = None,
    ) -> Self: ...
    @staticmethod
    def from_dict(document: dict[str, Any]) -> Space: ...
    @staticmethod
    def from_toml(text: str) -> Space: ...
    @staticmethod
    def from_json(text: str) -> Space: ...
    @property
    def names(self) -> list[str]: ...
    def default(self) -> dict[str, Value]: ...
    def check(self, params: dict[str, Value]) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, name: str) -> bool: ...

@final
class Trial:
    """A trial to be evaluated, from `Study.ask`."""

    @property
    def number(self) -> int: ...
    @property
    def replicate(self) -> int: ...
    @property
    def fold(self) -> int: ...
    @property
    def folds(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def params(self) -> dict[str, Any]: ...
    @property
    def budget(self) -> int | None: ...
    @property
    def step(self) -> int: ...
    @property
    def parent(self) -> tuple[int, int] | None: ...
    @property
    def attempt(self) -> int: ...
    def __getitem__(self, name: str) -> Any: ...
    def report(self, step: int, values: Values, *, seconds: float | None = None) -> Decision: ...
    def tell(self, values: Values | None = None, *, seconds: float | None = None) -> Standing: ...
    def fail(
        self,
        message: str = "",
        *,
        kind: Kind = "error",
        limit: float | None = None,
        code: int | None = None,
        detail: str = "",
        seconds: float | None = None,
    ) -> Standing: ...
    def cancel(self, *, seconds: float | None = None) -> Standing: ...

@final
class Study:
    """A study: what was tried so far, and what to try next."""

    def __new__(
        cls,
        space: Space | Iterable[Parameter] | dict[str, Any],
        *,
        direction: Literal["minimize", "maximize"] | None = None,
        metric: str | None = None,
        objectives: Iterable[str | tuple[str, str]] | dict[str, str] | None = None,
        constraints: Sequence[str] | None = None,
        sampler: Component | None = None,
        scheduler: Component | None = None,
        seed: int = 0,
        trials: int | None = None,
        limits: Mapping[str, Any] | None = None,
        max_budget: int | None = None,
        resumes: bool = False,
        step: str | None = None,
        curve: Literal["last", "best"] | None = None,
        replicates: int | dict[str, int] | None = None,
        storage: str | PathLike[str] | None = None,
        lease: float | None = None,
        name: str | None = None,
    ) -> Self: ...
    @staticmethod
    def open(storage: str | PathLike[str], *, lease: float | None = None) -> Study: ...
    @overload
    def ask(self, n: None = None) -> Trial | None: ...
    @overload
    def ask(self, n: int) -> list[Trial]: ...
    def report(
        self,
        trial: Trial | int,
        step: int,
        values: Values,
        *,
        seconds: float | None = None,
        replicate: int = 0,
    ) -> Decision: ...
    def tell(
        self,
        trial: Trial | int,
        values: Values | None = None,
        *,
        seconds: float | None = None,
        replicate: int = 0,
    ) -> Standing: ...
    def fail(
        self,
        trial: Trial | int,
        message: str = "",
        *,
        kind: Kind = "error",
        limit: float | None = None,
        code: int | None = None,
        detail: str = "",
        seconds: float | None = None,
        replicate: int = 0,
    ) -> Standing: ...
    def cancel(self, trial: Trial | int, *, seconds: float | None = None, replicate: int = 0) -> Standing: ...
    def enqueue(
        self,
        params: dict[str, Value] | None = None,
        *,
        within: dict[str, tuple[Value, Value]] | None = None,
        count: int = 1,
    ) -> None: ...
    def note(self, key: str, value: Any, *, trial: Trial | int | None = None) -> None: ...
    def trial(self, number: int) -> dict[str, Any]: ...
    def pareto_front(self) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...
    @property
    def done(self) -> str | None: ...
    @property
    def name(self) -> str: ...
    @property
    def storage(self) -> str | None: ...
    @property
    def space(self) -> Space: ...
    @property
    def sampler(self) -> tuple[str, dict[str, Any]]: ...
    @property
    def scheduler(self) -> tuple[str, dict[str, Any]]: ...
    @property
    def best(self) -> dict[str, Any] | None: ...
    @property
    def best_params(self) -> dict[str, Any] | None: ...
    @property
    def best_value(self) -> float | None: ...
    def advice(self, trials: int | None = None, epsilon: float | None = None) -> dict[str, Any] | None: ...
    @property
    def trials(self) -> list[dict[str, Any]]:
        """All trials. "replicates" of one tells what its replicates said, by objective: "values", "estimate", "measured_again" and
        "confirmed", or None where a trial is run once."""
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None: ...

def samplers() -> list[tuple[str, str, dict[str, tuple[Any, str]]]]:
    """Every sampler as (name, summary, options); options map a name to (default, what it does)."""

def schedulers() -> list[tuple[str, str, dict[str, tuple[Any, str]]]]:
    """Every scheduler as (name, summary, options); options map a name to (default, what it does)."""
