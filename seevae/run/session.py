"""One run of the command: all that keeps it safe, around the story that `run` in vae_mnist.py tells.

`running` is the context of a run, and gives a Session: it answers Ctrl-C, keeps other runs out of the folder, lets a
training go on from where it was cut off, and turns what goes wrong into a sentence.
"""

import contextlib
from pathlib import Path

import keras

from seevae.basics import UserError, complain, say
from seevae.machine import devices, processes, startup
from seevae.results.replay import Replay, load_replay
from seevae.run import console, folder, resume, saved, stopping
from seevae.training.input_noise import StochasticBinarisation


@contextlib.contextmanager
def running(args):
    """A context around one run that gives its Session; args: the command's options, as options.parse_args gives them.

    Raises UserError for what the user can mend, which says where a trained model is left; and SystemExit at the end of
    a run that a signal cut short.
    """
    session = Session(args)
    with session.signals.answered(), session.closing:
        try:
            startup.check_settings()
            session.device, session.recipe = devices.chosen(session.recipe, session.args.trains)
            yield session
        except Exception as error:
            advice, learned = console.what_to_do(error), session.what_was_learned()
            if advice:
                raise UserError(advice + learned) from error
            if learned:
                complain(f"the program failed.{learned}")
            raise
    if session.signals.asked:
        complain(f"stopped early; {session.what_is_left()}.")
        raise SystemExit(128 + session.signals.asked)


class Session:
    """What one run knows beyond its options.

    recipe: that of the options, with a batch that the devices can share; of a loaded model, its network is as it is.
    device: what computes (see devices.describe). started_from: of a loaded model that is trained further, what
    saved.start_of says; else None. settings: what is trained, for the record; progress: the resume.Progress of the
    training, or what stands for none; replay: a Replay, or None.
    """

    def __init__(self, args):
        self.args, self.recipe = args, args.recipe
        self.signals = stopping.Signals(self.what_is_left)
        self.closing = contextlib.ExitStack()  # what ends with the run
        self.device = self.dataset = self.place = self.replay = self.started_from = None
        self.settings, self.progress, self.is_saved = {}, resume.NO_TRAINING, False

    def begin(self, dataset):
        """Open the folder of the run, say what computes and on which images, and seed the weights; returns dataset."""
        self.dataset = dataset
        if self.args.load is not None:
            if folder.record_beside(self.args.load).get("classes") == [*dataset.classes] or not dataset.classes:
                self.replay = load_replay(self.args.load)  # of other classes, the page would give its codes wrong names
            self.started_from = saved.start_of(self.args.load) if self.args.trains else None
            self.dataset = folder.held_out_anew(self.args.load, dataset, self.args.seed)
        self.open(self.args.output)
        say(*console.opening(self.device, self.dataset))
        alike = {name: str(value) for name, value in vars(self.args).items() if name not in ("data", "output", "load")}
        processes.agreed(alike)  # before a model is built: JAX would only say that its weights differ
        with startup.quiet():  # on each backend, Keras imports TensorFlow here, if it is installed
            keras.utils.set_random_seed(self.args.seed)
        return self.dataset

    def open(self, output):
        """Choose the folder of this run, and keep it for itself until the end."""
        start = self.started_from and self.started_from["sha256"]
        loaded = self.args.load is not None
        self.place = self.closing.enter_context(folder.opened(output, self.dataset, loaded, start, self.signals.wait))

    def all_devices(self):
        """A context in which the model computes: on all devices, if it trains."""
        return devices.all_devices() if self.args.trains else contextlib.nullcontext()

    def saving_each_epoch(self, vae, evaluate):
        """The arguments of `train` that save each epoch: callbacks and, with --resume, the epoch that it goes on from.

        evaluate: see Replay.
        """
        args, dataset, file = self.args, self.dataset, self.place.path / folder.UNFINISHED
        if args.load is not None:
            self.keep_network(vae)
        sizes = {"latent_dim": vae.get_layer("decoder").input_shape[-1]}
        sizes |= {"hidden_dim": vae.get_layer("encoder").get_layer("encoder_h").units}
        self.settings = {"recipe": self.recipe._asdict(), **sizes}
        plan = resume.plan_of(self.settings, args.seed, self.device, dataset, self.started_from)
        plan = processes.agreed(plan, file if args.resume else None)
        self.replay = Replay(dataset.x_test[:1000], dataset.y_test[:1000], evaluate)
        alone = processes.rank_and_size() == (0, 1)  # others could not know that this one stops
        self.progress = resume.Progress(self.place, plan, self.replay, self.signals if alone else None)
        epochs_done = self.progress.restore(vae) if args.resume else 0
        return {"callbacks": [self.replay, self.progress], "initial_epoch": epochs_done}

    def keep_network(self, vae):
        """Let the recipe say what the network of a loaded model is, and tell where the one asked for has another."""
        noisy = any(isinstance(layer, StochasticBinarisation) for layer in vae.layers)
        if noisy != self.recipe.binarised_input:
            has, name = "noise" if noisy else "no noise", self.recipe.name
            say(f"{self.started_from['model']} has {has} on its input, unlike --recipe {name}, and stays as it is.")
        self.recipe = self.recipe._replace(binarised_input=noisy, spread_weights=False)  # its weights are not drawn

    def checked(self, vae):
        """The model on one device. Raises UserError where it is none to evaluate, draw and save."""
        if self.args.trains and devices.available() > 1:
            vae = saved.copied(vae)
        saved.check(vae, self.dataset.x_test)
        return vae

    @property
    def history(self):
        return self.progress.history

    @property
    def stopped(self):
        return self.progress.stopped

    @property
    def origin(self):
        """Where the model is from, in words."""
        if not self.args.trains:
            return f"model {Path(self.args.load).name}"
        further = f"going on from {self.started_from['model']}" if self.started_from else None
        return "; ".join(filter(None, [f"trained on {self.dataset.name}", further, self.stopped]))

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
            "settings": self.settings,
            "epochs": progress.epochs,
            "stopped": progress.stopped,
            "seconds": round(progress.seconds, 1),
            "history": progress.history,
            "held_out": held_out,
            "evidence": known,
        }
        where = self.place.path
        if not self.place.is_still_there():
            say(f"The folder {where} was deleted or replaced during this run: its files go to another one.")
            self.open(folder.beside(where))
        files = folder.save(self.place.path, figures, page, vae, self.replay, record, self.moving)
        say(*console.summary(record, files))
        return record

    @contextlib.contextmanager
    def moving(self):
        """A context in which the files move into the folder: signals wait, and then find all of them there."""
        with self.signals.wait():
            yield
            self.is_saved = True

    def what_is_left(self):
        """What a run that ends now leaves, in some words."""
        if self.place is None:
            return "nothing was written"
        if self.is_saved:
            return f"all files of this run are in {self.place.path}"
        if self.progress.kept:
            return f"--resume goes on after {self.progress.kept_epoch}, which is in {self.progress.path}"
        return f"{self.place.path} is as it was"

    def what_was_learned(self):
        """Where a trained model is when its run fails after the training, as a sentence; else nothing."""
        if self.is_saved or self.signals.in_training or not self.progress.kept:
            return ""
        return f" What was learned is in {self.progress.path}, {self.progress.kept_epoch}: --resume goes on from there."
