"""Store: the marks of a folder, each change on disk before it is answered, and nobody's work overwritten."""

from __future__ import annotations

import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from landmark_diffusion.annotate.table import ImageCells, Key, MarksTable
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import atomic_path
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.data.labels.label_set import Mark
from landmark_diffusion.data.sources.folder.columns import fold

Marks = dict[str, dict[str, Mark]]
"""Of one image: annotator -> landmark -> mark."""


class StaleError(UserError):
    """A change to an image that was changed meanwhile by another page or program; nothing of it was written."""


class Store:
    """The marks of a table, by image.

    Every change rewrites the file beside its place and renames it, so that it is whole at any time: for 19,000 points
    some milliseconds (docs/annotate.md), so that a journal would gain nothing. Before each change the file on disk is
    looked at: where another program has changed it, it is read anew first, and images that differ get a new revision,
    so that pages which show something else are refused. Safe to be called from several threads.

    Args:
        path: of the table; it need not exist.
        table: its content, or that of another form which the first change writes to ``path``.
        landmarks: names in the order in which rows are written.
    """

    def __init__(self, path: Path, table: MarksTable, landmarks: Sequence[str]) -> None:
        self.path, self.landmarks = path, tuple(landmarks)
        self.reloaded = 0
        """How often the file was found changed by another program, and read anew."""
        self._table = table
        self._order = {name: place for place, name in enumerate(landmarks)}
        self._lock = threading.RLock()
        self._revisions: dict[str, int] = defaultdict(lambda: 1)
        self._marks = _by_image(table)
        self._seen = _signature(path)

    def images(self) -> list[str]:
        """Names of the images that have marks."""
        with self._lock:
            return list(self._marks)

    def marks(self, image: str) -> Marks:
        """Marks of one image."""
        with self._lock:
            return {annotator: dict(marks) for annotator, marks in self._marks.get(image, {}).items()}

    def revision(self, image: str) -> int:
        """A number that changes whenever a mark of the image does."""
        with self._lock:
            return self._revisions[image]

    def count(self, image: str, annotator: str) -> int:
        """How many of the landmarks this annotator has marked or called absent."""
        with self._lock:
            own = self._marks.get(image, {}).get(annotator, {})
            return sum(name in own for name in self.landmarks)

    def spelled(self, annotator: str) -> str:
        """The annotator's name as the table has it, where that differs in spelling alone."""
        with self._lock:
            there = {who for marks in self._marks.values() for who in marks}
        alike = sorted(who for who in there if fold(who) == fold(annotator))
        return annotator if annotator in there or not alike else alike[0]

    def refresh(self) -> bool:
        """Read the file anew where another program has changed it; tells whether any mark differs.

        Raises DataError where it cannot be read now; the marks are as before then.
        """
        with self._lock:
            seen = _signature(self.path)
            if seen == self._seen or seen is None:  # where it is gone the next change writes all of it anew
                return False
            try:
                table = MarksTable.read(self.path)
            except OSError as error:  # taken away, or forbidden, in that moment
                raise DataError(f"the table cannot be read ({one_line(error)})", self.path) from error
            before, self._marks = self._marks, _by_image(table)
            self._table, self._seen = table, seen
            changed = [name for name in {*before, *self._marks} if before.get(name) != self._marks.get(name)]
            for name in changed:
                self._revisions[name] += 1
            self.reloaded += 1
            return bool(changed)

    def change(
        self, image: str, annotator: str, revision: int, changes: Mapping[str, Mark | None], about: ImageCells
    ) -> int:
        """Write marks (None: no mark) of one image by one annotator; gives the image's new revision.

        Raises StaleError where ``revision`` is not that of the image, DataError where another program has left a file
        that cannot be read, WriteError where it cannot be written: then nothing was changed.
        """
        with self._lock:
            self.refresh()
            if revision != self._revisions[image]:
                raise StaleError(f"{image} was changed on another page or by another program; reload it")
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            stamped = {name: None if mark is None else replace(mark, time=now) for name, mark in changes.items()}
            table = self._table.clone()
            for name, mark in stamped.items():
                table.put(Key(image, annotator, name), mark, self._order, about)
            self._write(table)
            own = self._marks.setdefault(image, {}).setdefault(annotator, {})
            for name, mark in stamped.items():
                own.pop(name, None)
                if mark is not None:
                    own[name] = mark
            self._revisions[image] += 1
            return self._revisions[image]

    def _write(self, table: MarksTable) -> None:
        text = table.text().encode("utf-8")
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(text)
            with suppress(OSError):
                shutil.copymode(self.path, temporary)
        self._table, self._seen = table, _signature(self.path)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's content; None where it is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _by_image(table: MarksTable) -> dict[str, Marks]:
    found: dict[str, Marks] = {}
    for key, mark in table.marks().items():
        found.setdefault(key.image, {}).setdefault(key.annotator, {})[key.landmark] = mark
    return found


def open_store(path: Path, first: MarksTable | None, landmarks: Sequence[str]) -> Store:
    """Open the table at ``path``, or begin it with ``first`` where it is not there.

    A link is followed, so that it stays one. Raises DataError for a table that cannot be read, has faults, or cannot be
    written into.
    """
    path = path.resolve()
    return Store(path, MarksTable.read(path) if path.exists() else first or MarksTable.empty(), landmarks)
