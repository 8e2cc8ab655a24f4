"""What a part of the bench found: tables, the goals it was held to, and curves for the pictures."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under names of columns. The first column says what was measured."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As it is printed, and as it stands in docs/performance.md."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        head, *body = [
            "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([f"**{self.title}**", "", head, rule, *body])


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is held to a bound: at least or at most."""

    name: str
    measured: float
    bound: float
    unit: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def row(self) -> tuple[str, str, str, str]:
        sign = "≤" if self.at_most else "≥"
        measured, bound = (f"{number:,.4g} {self.unit}".strip() for number in (self.measured, self.bound))
        return self.name, f"{sign} {bound}", measured, "met" if self.met else "MISSED"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one part has to say. `curves`: x and y by name, for the part's picture."""

    part: str
    tables: Sequence[Table]
    goals: Sequence[Goal] = ()
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def markdown(self) -> str:
        return "\n\n".join(table.markdown() for table in self.tables)


def goals_table(reports: Iterable[Report]) -> Table:
    """Every goal of a run, met or missed."""
    rows = [goal.row() for report in reports for goal in report.goals]
    return Table("Goals", ("goal", "bound", "measured", ""), rows)


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def spread(values: Iterable[float]) -> str:
    """From the least to the greatest, as the tables show it."""
    held = sorted(values)
    return f"{held[0]:,.0f} to {held[-1]:,.0f}"


def save(report: Report, folder: Path) -> None:
    """Keep a part's figures, so that a later run of other parts shows them still."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{report.part}.json").write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def kept(part: str, folder: Path) -> Report | None:
    """The figures of a part that were kept; None if there are none."""
    file = folder / f"{part}.json"
    if not file.exists():
        return None
    held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return Report(
        held["part"],
        [Table(**table) for table in held["tables"]],
        [Goal(**goal) for goal in held["goals"]],
        {name: [(x, y) for x, y in points] for name, points in held["curves"].items()},
    )
