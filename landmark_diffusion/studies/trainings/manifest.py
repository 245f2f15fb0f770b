"""The manifest of a folder of trainings: what all processes that work on it have agreed to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.json_files import read_json, write_json
from landmark_diffusion.modelfile.moved_options import dotted_with_new_names
from landmark_diffusion.studies.trainings.locks import exclusive

MANIFEST = "manifest.json"
Manifest = dict[str, Any]


@dataclass(frozen=True)
class ManifestFile:
    """How a verb keeps its manifest.

    Attributes:
        verb: whose it is.
        fields: those that it holds.
        merge: makes one of the manifest that is there, a proposed one and the folder; raises UserError where they
            contradict each other.
        later: fields that manifests of earlier versions lack, with what they mean by that.
    """

    verb: str
    fields: tuple[str, ...]
    merge: Callable[[Manifest, Manifest, Path], Manifest]
    later: Mapping[str, Any] = field(default_factory=dict)

    def read(self, folder: Path) -> Manifest | None:
        """Read the manifest; None where there is none yet. Raises DataError for a damaged one."""
        fault = f"no whole manifest of `ldx {self.verb}`"
        try:
            return read_json(Path(folder) / MANIFEST, self._taken, fault, "choose another folder")
        except FileNotFoundError:
            return None

    def agree(self, folder: Path, proposed: Manifest) -> Manifest:
        """Write the manifest at the first start, add what is new at later ones, and return what now counts.

        Processes that start at once agree. Raises UserError, naming every difference, when the folder holds another.
        """
        with exclusive(folder / ".manifest.lock", f"the manifest of {folder}"):
            existing = self.read(folder)
            merged = proposed if existing is None else self.merge(existing, proposed, folder)
            if merged != existing:
                write_json(folder / MANIFEST, merged, indent=1, ensure_ascii=False)
            found = self.read(folder)
            assert found is not None
            return self.merge(found, proposed, folder)

    def is_news(self, folder: Path, proposed: Manifest) -> bool:
        """Tell whether a proposed manifest has what the folder's does not know; raises UserError like ``agree``."""
        existing = self.read(folder)
        return existing is None or self.merge(existing, proposed, folder) != existing

    def _taken(self, content: Mapping[str, Any]) -> Manifest:
        """The fields, with the method's options under today's names."""
        content = {**self.later, **content}
        found = {key: content[key] for key in self.fields}
        method = str(found["options"].get("model.class_path", "")) if "options" in found else ""
        for part in (found, *found.get("starts", {}).values(), *found.get("targets", {}).values()):
            if "options" in part:
                part["options"] = dotted_with_new_names(method, part["options"])
        return found


def differences(key: str, before: Any, now: Any) -> list[str]:
    """Say in what two values of a manifest differ, a line each."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = sorted(name for name in before.keys() | now.keys() if before.get(name, "-") != now.get(name, "-"))
        return [f"{key}: {name}: {before.get(name, 'not set')} there, {now.get(name, 'not set')} now" for name in names]
    return [] if before == now else [f"{key}: {before} there, {now} now"]


def refuse(found: Sequence[str], folder: Path, what: str, cure: str) -> None:
    """Raise UserError where differences were found."""
    if found:
        lines = "".join(f"\n  {line}" for line in found)
        raise UserError(f"{folder}: the {what}:{lines}\n{cure}")
