"""What reconciling found: each case in words for a person, with the first thing to do about what it leaves."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

EXAMPLES = 5


class Case(StrEnum):
    """One way in which the vault and the engine can be apart. The order is that of the report."""

    NOT_RUNNING = "not_running"
    OVERDUE = "overdue"
    PROBE_DUE = "probe_due"
    STUCK = "stuck"
    WITHOUT_ROW = "without_row"
    ENDED_ROW = "ended_row"
    TOMBSTONE = "tombstone"
    SESSION = "session"
    CUT_OFF = "cut_off"
    CREDENTIAL_GENERATION = "credential_generation"
    WORKFLOW_GENERATION = "workflow_generation"
    REFUSED = "refused"


TITLES: Mapping[Case, str] = {
    Case.NOT_RUNNING: "living rows without a running workflow",
    Case.OVERDUE: "overdue rows",
    Case.PROBE_DUE: "probes overdue",
    Case.STUCK: "workflows stuck on a failing task",
    Case.WITHOUT_ROW: "workflows without a row",
    Case.ENDED_ROW: "workflows of rows that are revoked",
    Case.TOMBSTONE: "deletions not finished",
    Case.SESSION: "callbacks not taken up",
    Case.CUT_OFF: "connections of a deleted installation",
    Case.CREDENTIAL_GENERATION: "rows at odds with their credential",
    Case.WORKFLOW_GENERATION: "workflows at odds with their row",
    Case.REFUSED: "lives that the engine refuses",
}

ADVICE: Mapping[Case, str] = {
    Case.STUCK: "they were started anew; read why their task failed in the worker's log",
    Case.WITHOUT_ROW: "they were woken to end; was the vault restored from a backup?",
    Case.CREDENTIAL_GENERATION: "let the user connect again; was the vault edited or restored in part?",
    Case.REFUSED: "read the engine's log for these ids",
}
WRONG_DATABASE = "nothing was done: most workflows have no row here; is this the right database for that engine?"


@dataclass(slots=True)
class Finding:
    """How many of a case were found, mended, and left to a person; with the ids of the first few."""

    found: int = 0
    mended: int = 0
    left: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The outcome of a pass. `living` rows, `running` workflows when it began."""

    living: int = 0
    running: int = 0
    wrong_database: bool = False
    findings: dict[Case, Finding] = field(default_factory=lambda: defaultdict(Finding))

    def note(self, case: Case, id_: str, *, mended: bool, left: bool = False) -> None:
        """Count one."""
        finding = self.findings[case]
        finding.found += 1
        finding.mended += mended
        finding.left += left or not mended
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(id_)

    @property
    def left(self) -> int:
        """How many a person has to look at."""
        return sum(finding.left for finding in self.findings.values())

    def seen(self) -> list[tuple[Case, Finding]]:
        """What was found, in the order of the cases."""
        return [(case, self.findings[case]) for case in Case if case in self.findings]

    def advice(self, case: Case) -> str:
        """What a person does about what is left of a case."""
        if case is Case.WITHOUT_ROW and self.wrong_database:
            return WRONG_DATABASE
        return ADVICE.get(case, "") if self.findings[case].left else ""

    def as_json(self) -> dict[str, Any]:
        """For machines: stable names, ids of examples."""
        found = {
            str(case): {
                "found": finding.found,
                "mended": finding.mended,
                "left": finding.left,
                "examples": finding.examples,
                "advice": self.advice(case),
            }
            for case, finding in self.seen()
        }
        return {
            "living": self.living,
            "running": self.running,
            "left": self.left,
            "wrong_database": self.wrong_database,
            "findings": found,
        }
