"""One run of the command: all that keeps it safe, around the story that `run` in vae_mnist.py tells.

`Session` chooses the devices and the folder, lets a training go on from where it was cut off, answers Ctrl-C, and turns
what goes wrong into a sentence.
"""

import contextlib
import io
import sys
import traceback
from pathlib import Path

import keras

from seevae.basics import UserError
from seevae.machine import devices, processes, startup
from seevae.results.replay import Replay, load_replay
from seevae.run import console, folder, resume, saved, stopping
from seevae.training.callbacks import DIVERGED
from seevae.training.start import StochasticBinarisation


class Session:
    """A context around one run. args: the command's options, as options.parse_args gives them.

    recipe: that of the options, with a batch that the devices can share; of a loaded model, its network is as it is.
    started_from: of a loaded model that is trained further, what saved.start_of says; else None. origin: where the
    model is from, in words.
    Of the training, once there was one: history, {name: one number per epoch}; stopped, "stopped after epoch N of M" or
    None; replay, an Replay or None.
    """

    def __init__(self, args):
        self.args, self.recipe = args, args.recipe
        self.signals = stopping.Signals(self.what_is_left)
        self.first, self.trained = True, False
        self.place = self.progress = self.replay = self.files = self.started_from = None
        self.around = contextlib.ExitStack()  # what ends with the run

    def __enter__(self):
        with self.around:
            self.around.enter_context(self.signals.answered())
            with self.one_sentence():
                self.choose_devices()
            self.around = self.around.pop_all()  # nothing went wrong: it ends with the run, and not here
        return self

    def __exit__(self, kind, error, trace):
        with self.around, self.one_sentence():
            if error is not None:
                raise error  # again, for one_sentence
        if self.signals.asked:
            print(f"vae_mnist: stopped early; {self.what_is_left()}.", file=sys.stderr)
            raise SystemExit(128 + self.signals.asked)

    # -- Before the training -------------------------------------------------------------------------------------------

    def choose_devices(self):
        """Bring the processes of this training together, if there are several, and describe what computes."""
        if processes.wanted() and not self.args.trains:
            raise UserError(
                f"--load without --epochs does not train, so one process is enough: unset {processes.VARIABLES}."
            )
        startup.check_settings()
        self.first = processes.join()
        self.signals.listen()  # again, as JAX takes SIGTERM for itself when processes join
        if not self.first:
            self.around.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            self.device, number = devices.describe(), devices.available()
        except Exception as error:  # the environment names a device that is not there: JAX raises anything
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            advice = "look at JAX_PLATFORMS and CUDA_VISIBLE_DEVICES"
            raise UserError(f"No device answers ({reason}): {advice}.") from error
        if number > 1 and self.args.trains:
            batch = devices.round_up(self.recipe.batch_size, number)
            self.recipe = self.recipe._replace(batch_size=batch)
            where = f" in {processes.count()} processes" if processes.count() > 1 else ""
            shares = f"{batch} images a step, {batch // number} on each"
            self.device["device"] = f"{number} x {self.device['device']}{where}, {shares}"

    def begin(self, dataset):
        """Open the folder of the run, say what computes and on which images, and seed the weights; returns dataset."""
        self.dataset, loaded = dataset, self.args.load is not None
        if loaded and self.args.trains:
            self.started_from = saved.start_of(self.args.load)
        if self.first:
            self.open(*self.where)
        print(console.opening(self.device, dataset), flush=True)
        paths = ("data", "output", "load")
        options = {name: str(value) for name, value in vars(self.args).items() if name not in paths}
        processes.check_same_everywhere({**options, "load": self.start})
        with startup.quiet():  # on each backend, Keras imports TensorFlow here, if it is installed
            keras.utils.set_random_seed(self.args.seed)
        self.replay = load_replay(self.args.load) if loaded else None
        return dataset

    @property
    def start(self):
        """The digest of the model file from which the training goes on, or None."""
        return self.started_from and self.started_from["sha256"]

    @property
    def where(self):
        """What decides the folder of this run: the first arguments of folder.choose."""
        return self.args.output, self.dataset, self.args.load is not None

    def open(self, output, dataset, loaded=False):
        """Choose the folder of this run, and keep it for itself until the end."""
        opened = folder.opened(output, dataset, loaded, self.signals.wait, self.start)
        self.place = self.around.enter_context(opened)

    @property
    def folder(self):
        return self.place.path if self.place else None

    # -- The training --------------------------------------------------------------------------------------------------

    def all_devices(self):
        """A context in which the model computes: on all devices, if it trains."""
        return devices.all_devices() if self.args.trains else contextlib.nullcontext()

    def saving_each_epoch(self, vae, evaluate):
        """The arguments of `train` that save each epoch: callbacks and, with --resume, the epoch that it goes on from.

        evaluate: see Replay.
        """
        args, dataset = self.args, self.dataset
        self.replay = Replay(dataset.x_test[:1000], dataset.y_test[:1000], evaluate)
        if args.load is not None:
            self.keep_network(vae)
        plan = resume.plan_of(self.settings(vae), args.seed, self.device, dataset, self.start)
        processes.check_same_everywhere({name: plan[name] for name in plan if name not in resume.MAY_DIFFER})
        place = self.folder or folder.choose(*self.where, self.start)
        signals = self.signals if processes.count() == 1 else None  # others could not know that this one stops
        self.progress = resume.Progress(place / folder.UNFINISHED, plan, self.replay, signals, self.place)
        epochs_done = 0
        if args.resume:
            epochs_done = self.progress.restore(vae, () if self.first else resume.MAY_DIFFER)
            processes.check_same_everywhere({"history": self.progress.history})
        return {"callbacks": [self.replay, self.progress], "initial_epoch": epochs_done}

    def keep_network(self, vae):
        """Let the recipe say what the network of a loaded model is, and tell where the one asked for has another."""
        noisy = any(isinstance(layer, StochasticBinarisation) for layer in vae.layers)
        if noisy != self.recipe.binarised_input:
            has, name = "noise" if noisy else "no noise", self.recipe.name
            print(f"{self.started_from['model']} has {has} on its input, unlike --recipe {name}, and stays as it is.")
        self.recipe = self.recipe._replace(binarised_input=noisy, spread_weights=False)  # its weights are not drawn

    def settings(self, vae):
        """What is trained, as the record says it."""
        encoder_h = vae.get_layer("encoder").get_layer("encoder_h")
        sizes = {"latent_dim": vae.get_layer("decoder").input_shape[-1], "hidden_dim": encoder_h.units}
        return {"recipe": self.recipe._asdict(), **sizes}

    def on_one_device(self, vae):
        """The model on one device. A process that is not the first ends here: it has helped with the training."""
        self.trained = self.args.trains
        if not self.first:
            raise SystemExit(0)
        return devices.on_one_device(vae) if self.trained and devices.available() > 1 else vae

    def check(self, vae):
        """Raises UserError where the model is none to evaluate, draw and save."""
        saved.check(vae, self.dataset.x_test)

    @property
    def origin(self):
        if not self.args.trains:
            return f"model {Path(self.args.load).name}"
        further = f"going on from {self.started_from['model']}" if self.started_from else None
        return "; ".join(filter(None, [f"trained on {self.dataset.name}", further, self.stopped]))

    @property
    def history(self):
        return self.progress.history if self.progress else {}

    @property
    def stopped(self):
        return self.progress.stopped if self.progress else None

    # -- After the training --------------------------------------------------------------------------------------------

    def save(self, vae, figures, page, held_out, known):
        """Put all files into the folder at once, and print the last lines of the run. Returns the record.

        figures: {file name: Figure}; page: the explorer's HTML; held_out, known: what evaluate_elbo and
        evaluate_evidence say of the model.
        """
        args, dataset, progress = self.args, self.dataset, self.progress
        record = {
            "dataset": dataset.name,
            "full_mnist": dataset.full,
            "classes": list(dataset.classes),
            "converted": list(dataset.said),
            "account": dataset.account,
            "model": None if args.trains else Path(args.load).name,
            "started_from": self.started_from,
            **self.device,
            "seed": args.seed,
            "settings": self.settings(vae) if progress else {},
            "epochs": progress.epochs if progress else 0,
            "stopped": self.stopped,
            "seconds": round(progress.seconds, 1) if progress else 0.0,
            "history": self.history,
            "held_out": held_out,
            "evidence": known,
        }
        if not self.place.is_still_there():
            print(f"The folder {self.folder} was deleted or replaced during this run: its files go to another one.")
            self.open(folder.beside(self.folder), dataset)
        self.files = folder.save(self.folder, figures, page, vae, self.replay, record, self.moving)
        print(console.summary(record, self.files))
        return record

    @contextlib.contextmanager
    def moving(self):
        """A context in which the files move into the folder: signals wait, and then find all of them there."""
        with self.signals.wait():
            yield
            self.files = True

    # -- What goes wrong -----------------------------------------------------------------------------------------------

    def what_is_left(self):
        """What a run that ends now leaves, in some words."""
        if not self.first:
            return "process 0 keeps the finished epochs, from which all can go on with --resume"
        if self.folder is None:
            return "nothing was written"
        if self.files:
            return f"all files of this run are in {self.folder}"
        if self.progress and self.progress.kept:
            return f"--resume goes on after {self.epoch_kept()}, which is in {self.progress.path}"
        return f"{self.folder} is as it was"

    def epoch_kept(self):
        return f"epoch {self.progress.kept} of {self.progress.plan['epochs']}"

    @contextlib.contextmanager
    def one_sentence(self):
        """A context that turns what a user can mend into a UserError, which says where a trained model is left."""
        learned = ""
        try:
            yield
        except Exception as error:
            if self.trained and self.progress.kept and not self.files:
                where = f"{self.progress.path}, {self.epoch_kept()}"
                learned = f" What was learned is in {where}: --resume goes on from there."
            sentence = self.sentence(error)
            if processes.count() > 1:
                self.leave_the_others(sentence, learned, error)
            if sentence is None:
                if learned:
                    print(f"vae_mnist: the program failed.{learned}", file=sys.stderr)
                raise
            raise UserError(sentence + learned) from error

    def sentence(self, error):
        """What the user can do about an exception, in one sentence, or None."""
        if isinstance(error, UserError):
            return str(error)
        if devices.is_out_of_memory(error):
            return "This does not fit into the memory: choose a smaller --batch-size or --hidden-dim, or fewer images."
        if "should be between 0 and 1" in str(error):  # PyTorch refuses to take a loss from NaN
            return DIVERGED.format("")
        if processes.is_lost(error):
            reason = " ".join(str(error).split())[:120]
            return (
                f"Another process of this training is gone ({reason}): start all of them anew; {self.what_is_left()}."
            )
        return None

    def leave_the_others(self, sentence, learned, error):
        """Say what is wrong, and end this one of several processes."""
        if sentence is None:
            traceback.print_exception(error)
        print(f"vae_mnist: {sentence or 'the program failed.'}{learned}", file=sys.stderr)
        processes.exit_now(2 if sentence else 1)
