"""The results: rows with a goal and whether it is met, and the machine that they come from."""

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from local import NODE, ROOT

TIMES = "\N{MULTIPLICATION SIGN}"
LATEST = ROOT / "bench" / "results" / "latest.json"
# Of another Supabase; the page shows the local one.
ELSEWHERE = LATEST.with_name("elsewhere.json")


@dataclass(frozen=True)
class Row:
    """One figure: the median of the rounds, the lowest and the highest of them. `name` is `group: measure`."""

    name: str
    value: float
    unit: str
    goal: str | None
    met: bool | None
    low: float
    high: float

    @property
    def group(self) -> str:
        return self.name.split(": ")[0]

    @property
    def measure(self) -> str:
        return self.name.split(": ", 1)[1]


class Results:
    def __init__(self, machine: dict[str, Any], rows: list[Row]) -> None:
        self.machine = machine
        self.rows = rows

    def add(self, name: str, rounds: list[float], unit: str, goal: str | None = None) -> float:
        """Add a row of the rounds' figures. A goal is `<= 1.15` or `>= 3`, `<` or `>`, held by the median."""
        low, value, high = (
            _rounded(figure) for figure in (min(rounds), statistics.median(rounds), max(rounds))
        )
        row = Row(name, value, unit, goal, None if goal is None else holds(value, goal), low, high)
        self.rows.append(row)
        verdict = {None: "", True: f"  met: {goal}", False: f"  NOT MET: {goal}"}[row.met]
        print(f"  {row.name}  {value:g} {unit} ({low:g} to {high:g}){verdict}", flush=True)
        return value

    def ratio(self, name: str, ours: list[float], theirs: list[float], goal: str | None = None) -> float:
        """Add the ratio of each round to the one beside it."""
        return self.add(name, [mine / other for mine, other in zip(ours, theirs, strict=True)], TIMES, goal)

    def value(self, name: str) -> float:
        return next(row.value for row in self.rows if row.name == name)

    def groups(self) -> dict[str, list[Row]]:
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.group, []).append(row)
        return groups

    def save(self, path: Path = LATEST) -> None:
        path.parent.mkdir(exist_ok=True)
        content = {"machine": self.machine, "rows": [asdict(row) for row in self.rows]}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path = LATEST) -> "Results":
        content = json.loads(path.read_text())
        return cls(content["machine"], [Row(**row) for row in content["rows"]])


def holds(value: float, goal: str) -> bool:
    sign, limit = goal.split()
    bound = float(limit)
    return {"<=": value <= bound, "<": value < bound, ">=": value >= bound, ">": value > bound}[sign]


def machine(mode: str) -> dict[str, Any]:
    """Describe what the figures come from."""

    def output(*command: str | Path) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()

    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "node": output(NODE, "--version").lstrip("v"),
        "postgres": "17",
        "supabase": "local: Postgres, Lite's Auth and Data API, and a Storage API, in one Node.js process",
        "run": mode,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _rounded(figure: float) -> float:
    """Four digits: the fifth is noise in any of these."""
    return float(f"{figure:.4g}")
