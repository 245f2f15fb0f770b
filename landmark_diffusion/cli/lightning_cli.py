"""LightningCLI for ``ldx fit|validate|test|predict``: own options, run folders and checkpoints.

Importing this module imports torch and Lightning: ``cli.entry`` does so only inside the verbs that need them.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from typing import Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from landmark_diffusion.cli.callbacks import (
    CheckpointFacts,
    KeepPrinting,
    NetworkTable,
    RunConfigCallback,
    TellLearnedImages,
    progress_bar,
)
from landmark_diffusion.cli.checkpoint_choice import choose_checkpoint, default_run_folder
from landmark_diffusion.cli.compatibility import check_compatible, read_content
from landmark_diffusion.cli.compute import Compute, forget_choice, settle
from landmark_diffusion.cli.model_file_arguments import as_typed
from landmark_diffusion.cli.monitor_checks import check_monitors
from landmark_diffusion.cli.named_classes import drop_defaults_of_other_networks, import_named_classes
from landmark_diffusion.cli.next_steps import Trained, next_steps
from landmark_diffusion.cli.old_run_configs import read_old_run_configs
from landmark_diffusion.cli.parser_errors import explain, find_key, option_names
from landmark_diffusion.cli.safe_configs import refused_class, restrict_classes
from landmark_diffusion.cli.trainer_checks import (
    check_counts,
    check_epoch_length,
    check_trainer,
    explain_instantiation,
    explain_lightning,
    explain_trainer,
)
from landmark_diffusion.cli.unused import refuse_contradictions, unused_options
from landmark_diffusion.cli.verbs import RUN_OPTIONS, RUN_VERBS
from landmark_diffusion.configuration.config_checks import check_configs, check_linked_options
from landmark_diffusion.configuration.config_files import config_paths
from landmark_diffusion.configuration.own_split import foreign_options, foreign_words, leave_out, sources_of
from landmark_diffusion.configuration.repeated import warn_user
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import PART_OF_A_WHOLE, say
from landmark_diffusion.data.sources import DATASETS
from landmark_diffusion.evaluation.results_writer import ResultsWriter
from landmark_diffusion.evaluation.sample_writer import SampleWriter
from landmark_diffusion.finders.optimisation import Optimisation
from landmark_diffusion.hardware.memory import explain_out_of_memory, memory_message
from landmark_diffusion.hardware.threads import threads
from landmark_diffusion.methods import METHODS, import_methods
from landmark_diffusion.methods.base import LandmarkModule
from landmark_diffusion.methods.ddpm_pretrain import DDPMPretrainModule
from landmark_diffusion.methods.training import TrainedModule
from landmark_diffusion.modelfile.model_file import is_model_file, read_facts
from landmark_diffusion.models.network import NETWORKS, import_networks
from landmark_diffusion.training import RunFolder, default_callbacks
from landmark_diffusion.training.checkpoint import RunCheckpoint, use_own_checkpoint_io
from landmark_diffusion.training.datamodule import LandmarkDataModule
from landmark_diffusion.training.ema import averages_of
from landmark_diffusion.training.finite import SkipBadSteps
from landmark_diffusion.training.folder import CONFIG
from landmark_diffusion.training.loggers import make_loggers, remove_empty_curves
from landmark_diffusion.training.stopping import interrupts
from landmark_diffusion.training.trainer import LdxTrainer

LINKED = {"model.init_args.num_landmarks": "data.num_landmarks"}
"""Options of the model that the data module decides."""

_TALKATIVE = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)
_IDLE_NOTICES = (
    "configured with model summary",
    "litlogger",
    "litmodels",
    "`weights_only` was not set",
    "TPU available",
)
_IDLE_WARNINGS = (
    "is not supported by the model summary",
    "isinstance.treespec, LeafSpec",
    "does not have many workers",
    "It is recommended to use .self.log.*sync_dist=True",  # what we log comes from metrics that reduce themselves
    "smaller than the logging interval",
    "Total length of .list. across ranks is zero",  # a split without validation images
    "your dataloader is not resumable",  # it is: the sampler starts where the run stopped
    "callbacks used to create the checkpoint need to be provided",  # those are for training
)

_EVERY_MODULE = re.compile(r",\s+known\s+subclasses:\s+torch\.nn\.Module,[^)]*\)")
_TYPES: dict[str, Any] = {
    "run_folder": str | None,
    "threads": PositiveInt | Literal["auto"],
    "wandb": Literal["disabled", "offline", "online"],
    "protocols": list[str],
    "snapshots": list[int],
}
"""Of the run's own options whose default does not say it."""

TRAINER_DEFAULTS: dict[str, Any] = {"use_distributed_sampler": False, "num_sanity_val_steps": 0}


class LdxParser(LightningArgumentParser):
    """A parser whose errors are UserErrors that name the nearest known options, classes and values."""

    model_class: Any = LightningModule
    home: str = "."
    """The current folder of the command: jsonargparse reads a config from within the config's folder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})  # also the parsers of classes within others

    def dump(self, cfg: Any, *args: Any, **kwargs: Any) -> str:
        """Write a config as it will be run, also where --print_config ends the command before."""
        if isinstance(cfg.get("model"), Namespace):
            cfg = cfg.clone()
            drop_defaults_of_other_networks(cfg.model, sources_of(sys.argv[1:]))
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of how Lightning calls it
            written: str = super().dump(cfg, *args, **kwargs)
        return written

    def format_help(self, *args: Any) -> str:
        """Leave out the list of all torch modules that a network could be by its type alone."""
        return _EVERY_MODULE.sub(")", super().format_help(*args))

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise UserError; a parser nested in a type's check keeps jsonargparse's own exception."""
        if not self.exit_on_error:
            super().error(message, ex)
        with chdir(self.home):
            refusal = refused_class(message, config_paths(sys.argv[1:]))
            raise UserError(refusal or explain(message, self, self.model_class)) from ex


class LdxCLI(LightningCLI):
    """The four verbs of Lightning's Trainer with this project's options, run folders and checkpoints."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Give the verbs of this command; leave out ``weights_only``: it is always on."""
        skipped = LightningCLI.subcommands()
        return {verb: {*skipped[verb], "weights_only"} for verb in _verbs()}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what every verb takes beside trainer, model and data."""
        for option in RUN_OPTIONS:
            kind = _TYPES.get(option.name, type(option.default))
            flag: dict[str, Any] = {"nargs": "?", "const": True} if kind is bool else {}
            parser.add_argument(f"--{option.name}", type=kind, default=option.default, help=option.help, **flag)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what the data decides to the model."""
        for target, source in LINKED.items():
            parser.link_arguments(source, target, apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Leave the config as it is: Lightning would let a checkpoint's options override it without a word."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Let the parser know which classes ``model`` may be, for its messages."""
        parser = super().init_parser(**kwargs)
        assert isinstance(parser, LdxParser)
        parser.model_class = self._model_class
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse after a look at the yaml files themselves."""
        check_configs(config_paths(sys.argv[1:]), option_names(parser))
        super().parse_arguments(parser, args)
        check_counts(self.config[self.config.subcommand])

    def before_instantiate_classes(self) -> None:
        """Settle the run folder and the checkpoint before anything is built, so that refusals come at once."""
        verb = str(self.subcommand)
        options = self.config[verb]
        self._check_dataset(options.data)
        self.sources = sources_of(sys.argv[1:])
        drop_defaults_of_other_networks(options.model, self.sources)
        check_trainer(options.trainer, verb)
        refuse_contradictions(verb, options)
        for line in unused_options(verb, options, sys.argv[2:]):
            warn_user(line)
        if options.run_folder is None:
            configs = [str(path) for path in options.get("config") or []]
            options.run_folder = default_run_folder(configs, options.model.class_path, options.get("ckpt_path"))
        self.run = RunFolder(options.run_folder)
        self._leave_out_foreign(options.data)
        if self.run.path / CONFIG in config_paths(sys.argv[1:]):
            say(f"{verb}: using the config {self.run.path / CONFIG}")
        checkpoint = None
        if verb != "fit" or not (options.trainer.fast_dev_run or options.trainer.barebones):
            checkpoint = choose_checkpoint(verb, self.run, options.get("ckpt_path"), options.overwrite)
        self.content = None if checkpoint is None else read_content(checkpoint, for_trainer=True)
        options.ckpt_path = None if checkpoint is None else str(checkpoint)
        self.compute: Compute = settle(verb, options, self.content)
        options.trainer.precision = self.compute.precision
        if self.compute.threads is not None:
            options.threads = self.compute.threads
        if self.subcommand != "fit" or options.trainer.barebones:
            self.save_config_callback = None

    def _check_dataset(self, data: Any) -> None:
        """Refuse a dataset that is not known, or that may not be imported, where it was written."""
        kind = self.datamodule_class
        ours = isinstance(kind, type) and issubclass(kind, LandmarkDataModule)
        name = data.get("dataset") if ours else None
        try:
            if name is not None:
                DATASETS.load(name)
        except UserError as error:
            raise UserError(f"{find_key('data.dataset')}{error}") from error

    def _leave_out_foreign(self, data: Any) -> None:
        """Leave out, with a word, what a config says for its own dataset where another one is asked for."""
        foreign = foreign_options(self.sources)
        leave_out(data, foreign)
        for line in foreign_words(foreign, data.get("dataset"), config_paths(sys.argv[1:])):
            say(f"{self.subcommand}: {line}")

    def instantiate_classes(self) -> None:
        """Build data, model and trainer; what a class says against its options comes out of jsonargparse's wrapping."""
        with _explained_by(explain_instantiation):
            super().instantiate_classes()

    def after_instantiate_classes(self) -> None:
        """Compare the checkpoint with the model that was built, or take the start of a new run.

        Both here, so that a refusal comes before an old run is discarded.
        """
        if self.subcommand == "fit":
            callbacks = _as_list(self._get(self.config_init, "trainer").get("callbacks"))
            check_monitors(callbacks, self.model, self._validates)
        if self.content is not None:
            check_compatible(self.content, self.model, self.datamodule, resume=self.subcommand == "fit")
        elif self.subcommand == "fit" and isinstance(self.model, LandmarkModule):
            self.model.take_start(self.datamodule)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with the run's callbacks and loggers; the user's own callbacks come first."""
        given = self._get(self.config_init, "trainer")
        kwargs["callbacks"] = [*_as_list(given.get("callbacks")), *self._callbacks(given)]
        if given.get("default_root_dir") is None:
            kwargs["default_root_dir"] = str(self.run.path)
        if given.get("logger") is None:
            kwargs["logger"] = False  # Lightning's own would write elsewhere; the run's are set in _run_subcommand
        with _explained_by(explain_trainer):
            return super().instantiate_trainer(**kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb; only here, with everything built, is an old run discarded and the folder written to."""
        given = self._get(self.config_init, "trainer")
        throwaway = given.get("fast_dev_run") or given.get("barebones")
        if self.config[subcommand].overwrite and not throwaway:
            self._discard_old_run()
        if not throwaway:
            self._make_run_folder()
        if given.get("logger") is None and not throwaway:
            self.trainer.loggers = make_loggers(self.run, self.config[subcommand].wandb)
        use_own_checkpoint_io(self.trainer)
        try:
            with (
                _explained_by(explain_lightning),
                explain_out_of_memory(lambda error: memory_message(error, subcommand, self.config_dump)),
                threads(self.compute.threads),
                interrupts(self.trainer),
            ):
                super()._run_subcommand(subcommand)
        except Exception:
            if self.trainer.global_step == 0:
                remove_empty_curves(self.trainer.loggers, self.run)
            raise
        if subcommand == "fit" and not throwaway and PART_OF_A_WHOLE not in os.environ:
            self._say_what_is_next()

    @rank_zero_only
    def _say_what_is_next(self) -> None:
        checkpoint = next((each for each in _callbacks_of(self.trainer) if isinstance(each, RunCheckpoint)), None)
        if checkpoint is None:
            return
        data, monitor = self.datamodule, checkpoint.monitor
        trained = Trained(
            self.trainer.global_step, monitor, checkpoint.best_score, checkpoint.best_step,
            unit=getattr(getattr(data, "source", None), "unit", "") if monitor.endswith("/mre") else "",
            validated=_images(data, "val"), tested=_images(data, "test"),
            landmarks=getattr(self.model, "num_landmarks", 1) > 0 and hasattr(self.model, "results"),
            own_images=_tests_own_images(getattr(data, "source", None)),
            averaged=bool(averages_of(self.trainer)),
        )  # fmt: skip
        for line in next_steps(self.run, trained, config_paths(sys.argv[1:]), self.sources):
            say(line)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Load checkpoints without running any code that is in them."""
        kwargs = {**super()._prepare_subcommand_kwargs(subcommand), "weights_only": True}
        if subcommand in ("validate", "test"):
            # the results table says more than Lightning's list of logged values
            kwargs["verbose"] = not hasattr(self.model, "results")
        return kwargs

    def _validates(self) -> bool:
        source = getattr(self.datamodule, "source", None)
        images = source is None or self.datamodule.evaluate_on_train or bool(source.samples("val"))
        return images and self._get(self.config_init, "trainer").get("limit_val_batches") != 0

    def _make_run_folder(self) -> None:
        try:
            self.run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--run_folder {self.run.path}: the folder cannot be made ({error.strerror}); name another one"
            ) from error
        if not os.access(self.run.path, os.W_OK):
            raise UserError(f"--run_folder {self.run.path}: no permission to write there; name another one")

    @rank_zero_only
    def _discard_old_run(self) -> None:
        if self.subcommand == "fit" and self.run.has_checkpoint():
            self.datamodule.setup("fit")  # faults in the data show before anything is lost
            batches = getattr(self.datamodule, "batches_per_epoch", None)
            if batches is not None:
                check_epoch_length(self._get(self.config_init, "trainer"), batches(self.trainer.world_size))
            self.run.discard()

    def _callbacks(self, given: Any) -> list[Callback]:
        callbacks: list[Callback] = [KeepPrinting()]
        own_bar = any(isinstance(each, ProgressBar) for each in _as_list(given.get("callbacks")))
        if given.get("enable_progress_bar") is not False and not own_bar and not given.get("barebones"):
            callbacks.append(progress_bar())
        options = self.config[self.subcommand]
        if self.subcommand != "fit":
            if (checkpoint := options.ckpt_path) and is_model_file(checkpoint):
                callbacks.append(TellLearnedImages(read_facts(checkpoint)))
            return [*callbacks, ResultsWriter(self.run.path, self._facts(), options.protocols, options.pictures)]
        own_table = any(isinstance(each, ModelSummary) for each in _as_list(given.get("callbacks")))
        if given.get("enable_model_summary") is not False and not own_table and not given.get("barebones"):
            callbacks.append(NetworkTable())
        if given.get("enable_checkpointing") is False or given.get("barebones"):
            return [*callbacks, SkipBadSteps(options.max_bad_steps)]
        optimisation = getattr(self.model, "optimisation", Optimisation())
        facts = CheckpointFacts(self.config_dump.get("data") or {}, self.compute)
        return [
            *callbacks,
            facts,
            *default_callbacks(
                self.run,
                ema_decay=optimisation.ema_decay,
                monitor=getattr(self.model, "monitor", "val/mre"),
                early_stopping_patience=optimisation.early_stopping_patience,
                given=_as_list(given.get("callbacks")),
                **{name: options[name] for name in ("snapshots", "snapshot_every", "keep_snapshots", "max_bad_steps")},
            ),
            *self._sample_writers(),  # behind the moving average, which has to have seen the update
        ]

    def _facts(self) -> dict[str, Any]:
        """What metrics.json says about how it was measured: with the options, `ldx export` can hand over just that."""
        dump = self.config_dump
        precision = {"precision": (dump.get("trainer") or {}).get("precision")}
        config = {"trainer": precision, **{key: dump.get(key) for key in ("seed_everything", "data", "model")}}
        command = " ".join(["ldx", *as_typed(sys.argv[1:])])
        checkpoint = self.config[self.subcommand].ckpt_path
        facts = {"checkpoint": checkpoint, "command": command, "config": config}
        if checkpoint and is_model_file(checkpoint):
            facts["model_file"] = read_facts(checkpoint).weights_sha256 or checkpoint
        return facts

    def _sample_writers(self) -> list[Callback]:
        """Pictures of what a generating model has learned, at the interval that it asks for."""
        if not isinstance(self.model, DDPMPretrainModule) or (asked := self.model.sampling).every <= 0:
            return []
        return [SampleWriter(self.run.path, asked.every, asked.count, asked.steps, asked.statistics_count)]


def run_cli(
    model_class: type[LightningModule] | None = None, data_class: type[LightningDataModule] | None = None
) -> int:
    """Run the verb in ``sys.argv`` and return the exit status.

    ``model_class`` (any subclass may be chosen by its short name) and ``data_class`` are the package's own by default.
    Raises UserError for whatever the user can mend.
    """
    own = set()
    if model_class is None:
        import_methods()
        import_networks()
        import_named_classes(sys.argv[1:])
        own = {
            entry.module for registry in (METHODS, NETWORKS) for entry in registry.found().values()
        }  # who installed them gave leave
        model_class = TrainedModule
    if data_class is None:
        data_class = LandmarkDataModule
    LdxParser.home = os.getcwd()
    read_old_run_configs()
    restrict_classes({model_class.__module__, data_class.__module__, *own})
    check_linked_options(LINKED)
    with quieter():
        try:
            LdxCLI(
                model_class,
                data_class,
                subclass_mode_model=True,
                trainer_class=LdxTrainer,
                save_config_callback=RunConfigCallback,
                trainer_defaults=TRAINER_DEFAULTS,
                parser_class=LdxParser,
                parser_kwargs=parser_options(),
                auto_configure_optimizers=False,
            )
        except MisconfigurationException as error:
            raise UserError(f"trainer: {error}") from error
        finally:
            forget_choice()
    return 0


def _verbs() -> list[str]:
    """The verb in ``sys.argv`` alone, as each takes a third of a second to set up; else all."""
    return [verb for verb in RUN_VERBS if sys.argv[1:2] == [verb]] or list(RUN_VERBS)


def parser_options() -> dict[str, Any]:
    """Return the parsers' options: a short usage line for each verb in place of a page of brackets."""
    options: dict[str, Any] = {"prog": "ldx", "allow_abbrev": False}
    for verb in _verbs():
        what = RUN_VERBS[verb]
        options[verb] = {
            "description": f"{what[0].upper()}{what[1:]}.",
            "usage": f"ldx {verb} --config NAME_OR_PATH [--config MORE] [--data.OPTION VALUE] ...",
            "epilog": "The options of a model: --model.help DiffusionHeatmapModule. Examples: ldx --help",
        }
    return options


@contextmanager
def quieter() -> Iterator[None]:
    """Hide notices of the libraries that a user of ldx can do nothing about, and print warnings as one line."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_of_use)
    for text in _IDLE_WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{text}.*")
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *args, **kwargs: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextmanager
def _explained_by(explain: Callable[[BaseException], UserError | None]) -> Iterator[None]:
    """Raise what ``explain`` makes of an error in place of it, where it has words for the user."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or (told := explain(error)) is None:
            raise
        raise told from (None if told is error.__cause__ else error)


def _is_of_use(record: logging.LogRecord) -> bool:
    return not any(text in str(record.msg) for text in _IDLE_NOTICES)


def _callbacks_of(trainer: Any) -> list[Callback]:
    callbacks: list[Callback] = trainer.callbacks
    return callbacks


def _images(data: Any, stage: str) -> int:
    """Images of a part; 0 for a data module that does not say."""
    return len(data.stage_dataset(stage)) if hasattr(data, "stage_dataset") else 0


def _tests_own_images(source: Any) -> bool:
    """Whether the test part is one of the user's own folder, and no fold of it already."""
    return getattr(source, "name", "") == "folder" and not getattr(source, "folds", None)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
