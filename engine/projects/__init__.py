"""The `.loupe` project file: one SQLite database that holds an investigation, every edit committed as it is made."""

from __future__ import annotations

from engine.projects.annotations import Annotations, Group
from engine.projects.brought import Brought
from engine.projects.history import EditDone
from engine.projects.ownership import HEARTBEAT_SECONDS, Owner
from engine.projects.project import SUFFIX, Project
from engine.projects.search import SearchHit
from engine.projects.snapshots import SnapshotRow
from engine.projects.traces import TraceRow

__all__ = [
    "HEARTBEAT_SECONDS",
    "SUFFIX",
    "Annotations",
    "Brought",
    "EditDone",
    "Group",
    "Owner",
    "Project",
    "SearchHit",
    "SnapshotRow",
    "TraceRow",
]
