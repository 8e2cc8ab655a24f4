"""Reads the alert rules and the dashboard: which metrics they name."""

import json
import re
from typing import Any

import yaml

from tests.deploy.reading import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "authpipe.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ASKED = [target["expr"] for panel in PANELS for target in panel["targets"]]
# A name ends where no letter of a name follows; what stands in a pair of quotes is a label's value.
OF_THE_SCRAPE = {"", "job", "instance"}
"""Labels that Prometheus gives, not who is scraped."""
NAME = re.compile(r"\b(?:authpipe|temporal)_[a-z0-9_]+")


def named_metrics() -> set[str]:
    """Every series that an alert or a panel asks for, as a scrape spells it."""
    texts = [alert["expr"] for alert in ALERTS] + ASKED
    variables = [v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    return {name for text in (*texts, *variables) for name in NAME.findall(re.sub(r'"[^"]*"', "", text))}


def named_labels() -> set[tuple[str, str]]:
    """Every series with each label of its own by which an alert or a panel chooses or groups it."""
    wanted = set()
    for text in [alert["expr"] for alert in ALERTS] + ASKED:
        plain = re.sub(r'"[^"]*"', "", text)
        grouped = {label for labels in re.findall(r"\bby \(([^)]*)\)", plain) for label in re.split(r"\W+", labels)}
        for name in NAME.findall(plain):
            chosen = {
                label for labels in re.findall(name + r"\{([^}]*)\}", plain) for label in re.findall(r"\w+", labels)
            }
            wanted |= {(name, label) for label in (grouped | chosen) - OF_THE_SCRAPE}
    return wanted


def scraped_labels(text: str) -> set[tuple[str, str]]:
    """The same, of a scrape."""
    lines = re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE)
    return {(name, label) for name, labels in lines for label in re.findall(r'(\w+)="', labels)}


def scraped_names(text: str) -> set[str]:
    """The series of a scrape."""
    return {re.split(r"[{ ]", line, maxsplit=1)[0] for line in text.splitlines() if line and not line.startswith("#")}
