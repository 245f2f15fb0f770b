"""Classes by name: those of this package, those that other installed packages bring, and class paths of one's own.

Another package brings a class by an entry point of the registry's group in its pyproject.toml, and so may use a short
name. Whoever names a class by its path (``my_lab.data.MyData``) in a config gives leave with ``--allow_classes``, since
importing a module runs it; a module that the program has imported already needs none, nor does a class that an
installed entry point names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.suggestions import did_you_mean
from landmark_diffusion.core.texts import one_line, words

PACKAGE = __name__.partition(".")[0]
ALLOW_OPTION = "--allow_classes"
ALLOW_VARIABLE = "LDX_ALLOW_CLASSES"
"""Where the option is kept, so that processes that ``ldx`` starts (devices, cells, folds) hold to it too."""


def allowed_modules() -> list[str]:
    """Give the modules that ``--allow_classes`` named."""
    return words(os.environ.get(ALLOW_VARIABLE, ""))


@dataclass(frozen=True)
class Registry:
    """Names of one kind of class.

    Attributes:
        what: what one is called, for messages: "dataset".
        option: where a user writes the name, for messages: "data.dataset".
        group: of the entry points by which other packages bring such classes: "landmark_diffusion.datasets".
        base: what they all derive from, as "module:Class"; imported only when one is loaded.
        built_in: name to "module:Class" in this package.
        extras: module that is not always installed to the extra of this package that brings it.
    """

    what: str
    option: str
    group: str
    base: str
    built_in: Mapping[str, str]
    extras: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """List the short names: this package's, then those of other installed packages."""
        return [*self.built_in, *self.found()]

    def found(self) -> dict[str, EntryPoint]:
        """Give what other installed packages bring, by name; a name of this package stays this package's."""
        return {each.name: each for each in entry_points(group=self.group) if each.name not in self.built_in}

    def load(self, name: str) -> type[Any]:
        """Import the class of a short name or class path.

        Raises UserError for a name that is not known, a class path without leave, a class of another kind or one that
        lacks what its base asks for, and a module that cannot be imported.
        """
        try:
            loaded = self._load(name)
        except UserError:
            raise
        except ModuleNotFoundError as error:
            raise UserError(self._not_installed(name, error)) from error
        except Exception as error:  # of a module of somebody else's, which may raise anything
            raise UserError(
                f"{self.option}: {name} cannot be imported: {type(error).__name__}: {one_line(error)}"
            ) from error
        base = resolve(self.base)
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            raise UserError(f"{self.option}: {name} is no {base.__name__} ({base.__module__}.{base.__name__})")
        if missing := unwritten(loaded):
            raise UserError(f"{self.option}: {name} lacks {', '.join(missing)}, which every {base.__name__} has")
        return loaded

    def _load(self, name: str) -> Any:
        if name in self.built_in:
            return resolve(self.built_in[name])
        module, _, class_name = name.rpartition(".")
        brought = self.found()
        if name in brought:
            return brought[name].load()
        if not module:
            known = self.names()
            cure = did_you_mean(name, known) or f" Known: {', '.join(known)}."
            raise UserError(f"{self.option}: unknown {self.what} {name!r}.{cure}")
        if not any(each.value == f"{module}:{class_name}" for each in brought.values()):
            self._ask_leave(module, class_name)
        try:
            return getattr(import_module(module), class_name)
        except AttributeError:
            if module not in sys.modules:
                raise
            known = [each for each in vars(sys.modules[module]) if not each.startswith("_")]
            hint = did_you_mean(class_name, known)
            raise UserError(f"{self.option}: the module {module} has no class {class_name}.{hint}") from None

    def _ask_leave(self, module: str, class_name: str) -> None:
        """Refuse a module whose import would run what nobody has allowed."""
        own = (PACKAGE, *allowed_modules())
        if module in sys.modules or any(module == each or module.startswith(f"{each}.") for each in own):
            return
        top = module.partition(".")[0]
        cure = f" If you know and trust it, add {ALLOW_OPTION} {top} (in Python: import {module} first)"
        raise UserError(
            f"{self.option}: {module}.{class_name}: refused, and nothing of it was run. Naming a class runs the module "
            f"that it is in.{'' if top in sys.stdlib_module_names else cure}"
        )

    def _not_installed(self, name: str, error: ModuleNotFoundError) -> str:
        missing = (error.name or "").partition(".")[0]
        if extra := self.extras.get(missing):
            return (
                f"{self.option}: {name} needs {error.name}, which is not installed: "
                f"pip install 'landmark_diffusion[{extra}]'"
            )
        return (
            f"{self.option}: {name} cannot be imported: {error}. Install its package (pip install -e FOLDER), or name "
            "the folder that it lies in by PYTHONPATH"
        )


def is_ours(path: str) -> bool:
    """Tell whether a dotted path, of a module or class, lies in this package."""
    return path.partition(".")[0] == PACKAGE


def resolve(place: str) -> Any:
    """Import what "module:name" names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def unwritten(cls: type[Any]) -> list[str]:
    """List what a class takes from its bases without an implementation, also where no ABC holds it to that."""
    return [name for name in dir(cls) if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
