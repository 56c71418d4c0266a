"""The `.loupe` project file: one SQLite database that holds an investigation, every edit committed as it is made."""

from __future__ import annotations

from engine.projects.annotations import Annotations
from engine.projects.brought import Brought
from engine.projects.circuits import circuit_of, effects_key, evidence_of
from engine.projects.experiments import EVIDENCE, ExperimentRow, Experiments
from engine.projects.faults import DamagedProjectError, FileLostError
from engine.projects.feature_labels import FeatureLabel, FeatureLabels, NewLabel, dictionary_identity
from engine.projects.groups import Group
from engine.projects.history import EditDone
from engine.projects.label_files import ImportedLabels, export_labels, import_labels, read_labels
from engine.projects.label_rows import LabelVersion
from engine.projects.merging import Merged
from engine.projects.ownership import HEARTBEAT_SECONDS, Owner
from engine.projects.project import SUFFIX, Project
from engine.projects.rescuing import Rescue, rescue
from engine.projects.running_again import Difference, Rerun, rerun
from engine.projects.search import SearchHit
from engine.projects.snapshots import SnapshotRow
from engine.projects.suggestions import Suggestion, Suggestions
from engine.projects.traces import Asked, TraceRow
from engine.projects.tree import Tree
from engine.projects.tree_rows import TOP, TreeEntry, TreeRef

__all__ = [
    "EVIDENCE",
    "HEARTBEAT_SECONDS",
    "SUFFIX",
    "TOP",
    "Annotations",
    "Asked",
    "Brought",
    "DamagedProjectError",
    "Difference",
    "EditDone",
    "ExperimentRow",
    "Experiments",
    "FeatureLabel",
    "FeatureLabels",
    "FileLostError",
    "Group",
    "ImportedLabels",
    "LabelVersion",
    "Merged",
    "NewLabel",
    "Owner",
    "Project",
    "Rerun",
    "Rescue",
    "SearchHit",
    "SnapshotRow",
    "Suggestion",
    "Suggestions",
    "TraceRow",
    "Tree",
    "TreeEntry",
    "TreeRef",
    "circuit_of",
    "dictionary_identity",
    "effects_key",
    "evidence_of",
    "export_labels",
    "import_labels",
    "read_labels",
    "rerun",
    "rescue",
]
