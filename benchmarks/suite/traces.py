"""Recorded runs on disk. A slice is one run: (optimiser, task, seed) with its values and CPU times, one line of a CSV file.

`<name>.csv.xz` holds committed slices, `<name>.csv` beside it what was recorded since (a finished slice is one appended line, so a
killed run loses nothing but the slice it was at); `pack` moves the latter into the former. Both are text and may be joined by
concatenation; of two lines for the same slice the longer counts. `versions.json` says what was recorded, with which versions, and when.

Columns: task, seed, trials, values, cpu, cost. `values` are the objective's values, one per trial, separated by blanks, in the
metric's own direction, `nan` if a trial failed or was not feasible; for noisy problems, several objectives and several fidelities they are the
incumbent's score after each trial (see `runner.py`). `cpu` is milliseconds of ask and tell. `cost`, for several fidelities only, is what each
piece of work cost, in full evaluations. Values keep so many digits that four are left of the distance to the best known value, or seven of their own
if that is shorter.
"""

import csv
import json
import lzma
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

# LUTHIER_TRACES may name another folder, for example that of a recording under way in another working copy.
FOLDER = Path(os.environ.get("LUTHIER_TRACES") or Path(__file__).resolve().parent / "traces")
csv.field_size_limit(1 << 30)


def setting(fidelity=False, workers=1):
    """What the name of an optimiser ends with where it does not run full evaluations one after another: "+fidelity" on several fidelities,
    "+workers=8" with eight trials at once."""
    return "+fidelity" if fidelity else f"+workers={workers}" if workers > 1 else ""


def setting_of(name):
    """The setting at the end of a name of traces, "" if there is none."""
    return name[len(bare(name)) :]


def bare(name):
    """The optimiser's own name."""
    return re.sub(r"\+(fidelity|workers=\d+)$", "", name)


@dataclass
class Slice:
    """One run. `values`, `cpu` (ms) and `cost` have an entry per trial; `cost` is empty unless budgets vary."""

    task: str
    seed: int
    values: list
    cpu: list
    cost: list = field(default_factory=list)

    @property
    def trials(self):
        return len(self.values)


def path(optimizer, folder=None):
    return (folder or FOLDER) / (quote(optimizer.replace(":", "@"), safe="@+=&") + ".csv")


def packed(file):
    return file.with_suffix(".csv.xz")


def read(optimizer, folder=None):
    """{(task, seed): Slice} of all recorded runs of an optimiser."""
    file = path(optimizer, folder)
    slices = {}
    for lines in (lines_of(packed(file)), lines_of(file)):
        for row in csv.reader(lines):
            found = parse(row)
            key = (found.task, found.seed)
            if key not in slices or slices[key].trials <= found.trials:
                slices[key] = found
    return slices


def recorded(folder=None):
    """Names of all optimisers that have traces."""
    found = {unquote(p.name.split(".csv")[0]).replace("@", ":") for p in (folder or FOLDER).glob("*.csv*")}
    return sorted(found)


def append(optimizer, run, best_known=None, folder=None):
    """Adds a slice. One write of one line, so several processes may append to the same file."""
    file = path(optimizer, folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    line = ",".join([
        run.task,
        str(run.seed),
        str(run.trials),
        " ".join(shorten(value, best_known) for value in run.values),
        " ".join(f"{ms:.2g}" if ms < 100 else f"{ms:.0f}" for ms in run.cpu),
        " ".join(f"{cost:.4g}" for cost in run.cost),
    ])
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (line + "\n").encode())
    finally:
        os.close(descriptor)


def pack(optimizer, folder=None):
    """Moves plain lines into the packed file."""
    file = path(optimizer, folder)
    if not file.exists():
        return
    slices = read(optimizer, folder)
    rows = sorted(slices.values(), key=lambda s: (s.task, s.seed))
    # Sorted by kind of column within a row, which is what the compressor likes.
    text = "".join(",".join(raw(row)) + "\n" for row in rows)
    part = packed(file).with_suffix(".part")
    part.write_bytes(lzma.compress(text.encode(), preset=9))
    part.replace(packed(file))
    file.unlink()


def note_version(optimizer, version, today, folder=None):
    """Keeps what was recorded with which version, and when first and last. To be called before what it notes is appended."""
    file = (folder or FOLDER) / "versions.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    notes = json.loads(file.read_text()) if file.exists() else {}
    note = notes.setdefault(optimizer, {"version": version, "first": today})
    if note["version"] != version:
        raise SystemExit(f"{optimizer}: traces are of {note['version']}, installed is {version}; remove its traces to record again")
    note["last"] = today
    file.write_text(json.dumps(dict(sorted(notes.items())), indent=1) + "\n")


def versions(folder=None):
    file = (folder or FOLDER) / "versions.json"
    return json.loads(file.read_text()) if file.exists() else {}


def shorten(value, best):
    if value is None or math.isnan(value):
        return "nan"
    if best is None or value == best:
        return f"{value:.7g}"
    decimals = 4 - math.ceil(math.log10(abs(value - best)))
    text = f"{value:.{min(max(decimals, 0), 12)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    short = f"{value:.7g}"
    return text if len(text) <= len(short) else short


def raw(run):
    number = lambda x: "nan" if math.isnan(x) else f"{x:.12g}"
    return [run.task, str(run.seed), str(run.trials)] + [" ".join(map(number, column)) for column in (run.values, run.cpu, run.cost)]


def parse(row):
    task, seed, _, values, cpu, cost = row
    numbers = lambda text: [float(word) for word in text.split()]
    return Slice(task, int(seed), numbers(values), numbers(cpu), numbers(cost))


def lines_of(file):
    """Whole lines only: a line that a killed process left half written is dropped."""
    if not file.exists():
        return []
    text = (lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()).decode()
    return [line for line in text.split("\n")[:-1] if line.count(",") == 5]
