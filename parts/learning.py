"""What the recipes are made of: initial weights, noise on the input, the optimizer, and the callbacks of a training.

Recipes are a table in parts/recipes.py. The network is the post's with each of them.
"""

import keras
import numpy as np
from keras import initializers, layers, ops

from parts import UserError, devices, startup

DIVERGED = "Training diverged{}: choose a smaller --learning-rate, or a larger --batch-size."
HEADS = ("z_mean", "z_log_var")  # the encoder's two output layers


def spread_weights(encoder, decoder):
    """Draw the initial weights of both relu layers anew, in place, so that their units cover the data and the prior.

    A relu unit bends its output along a line in the latent plane. With Keras's biases of zero, all these lines run
    through the origin; here they are scattered over the prior, so that the decoder can bend where the digits are.
    The scale of `encoder_h` is He's (arXiv:1502.01852, equation 10), and that of `decoder_h` twice He's.
    """
    encoder_h, decoder_h = encoder.get_layer("encoder_h"), decoder.get_layer("decoder_h")
    encoder_h.kernel.assign(initializers.HeUniform()(encoder_h.kernel.shape))
    decoder_h.kernel.assign(initializers.VarianceScaling(8.0, "fan_in", "uniform")(decoder_h.kernel.shape))
    decoder_h.bias.assign(initializers.RandomUniform(-2.0, 2.0)(decoder_h.bias.shape))


@keras.saving.register_keras_serializable(package="vae_mnist")
class StochasticBinarisation(layers.Layer):
    """In training, replaces each grey value by 1 with that probability, else 0; afterwards, passes x through.

    It is the noise on the input of the post's denoising autoencoders, with nothing to tune: its mean is the image
    itself, and the target stays grey. It keeps the encoder from learning images by heart.
    x: (batch, pixels), float32 in [0, 1]. Each pixel has a threshold, uniform from 0 to 1, and those of an image are
    independent. A threshold is one draw for the pixel, shared by the batch, plus one draw for the image, modulo 1.
    (784 draws an image would make an epoch several times longer on TensorFlow.)
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training:
            return x
        for_image = keras.random.uniform((ops.shape(x)[0], 1), dtype=x.dtype, seed=self.seed_generator)
        for_pixel = keras.random.uniform((1, x.shape[1]), dtype=x.dtype, seed=self.seed_generator)
        total = for_image + for_pixel  # (batch, pixels), from 0 to 2
        threshold = total - ops.cast(total >= 1, x.dtype)  # modulo 1
        return ops.cast(threshold < x, x.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def is_head(variable):
    """Tell whether a variable is a weight of z_mean or z_log_var."""
    return not {*HEADS}.isdisjoint(variable.path.split("/"))


def nadam_class():
    """Keras's Nadam; on PyTorch the one that Keras puts in its place there, which moves all variables at once."""
    return type(keras.optimizers.Nadam()) if keras.backend.backend() == "torch" else keras.optimizers.Nadam


class HeadStep:
    """What makes an optimizer's steps for the heads `head_step` times as long; put it before a Keras optimizer's class.

    A head sums hundreds of hidden units, and each of its weights moves by about the learning rate in a step: at a rate
    that suits the other layers, the codes jump far in every step.
    """

    def __init__(self, learning_rate=0.001, head_step=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.head_step = head_step

    def build(self, variables):
        """Make the optimizer's variables, and note the step of each of the model's `variables`."""
        super().build(variables)
        self.steps = [self.head_step if is_head(variable) else 1.0 for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        """Move one of the variables that build was given; Keras calls it for each of them at each step."""
        step = self.steps[self._get_variable_index(variable)]  # private, but TensorFlow's variable here has no path
        super().update_step(gradient, variable, step * learning_rate)

    def apply(self, grads, trainable_variables=None):
        """Move all variables; on PyTorch, where update_step is not called, the heads then go back to their share."""
        if keras.backend.backend() != "torch":
            return super().apply(grads, trainable_variables)
        heads = [(variable, ops.copy(variable)) for variable in trainable_variables if is_head(variable)]
        super().apply(grads, trainable_variables)
        for variable, before in heads:
            variable.assign(before + self.head_step * (variable - before))

    def get_config(self):
        return {**super().get_config(), "head_step": self.head_step}


@keras.saving.register_keras_serializable(package="vae_mnist")
class NadamWithHeadStep(HeadStep, nadam_class()):
    """Adam with Nesterov momentum (Dozat, 2016), with steps of their own for the heads."""


def make_optimizer(recipe, steps):
    """The recipe's optimizer, for a training of `steps` steps in all. Raises ValueError for an unknown one."""
    learning_rate = recipe.learning_rate
    if recipe.linear_decay:
        learning_rate = keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0)
    match recipe.optimizer:
        case "adam":
            return keras.optimizers.Adam(learning_rate, beta_2=recipe.beta_2)
        case "nadam":
            return NadamWithHeadStep(learning_rate, recipe.head_step, beta_2=recipe.beta_2)
        case other:
            raise ValueError(f"No optimizer is called {other!r}: 'adam' or 'nadam'.")


def check_learning_rate(optimizer, steps, callbacks=()):
    """Raise UserError where a training of so many more steps would go on when its learning rate has fallen to 0.

    Raises it, too, where one of the callbacks would set a learning rate that falls by itself, which Keras refuses in
    the middle of the training.
    """
    rate = optimizer.get_config()["learning_rate"]
    if not isinstance(rate, dict):  # a number: it stays
        return
    left = rate["config"]["decay_steps"] - int(ops.convert_to_numpy(optimizer.iterations))  # of several devices, too
    if left < steps:
        out = "has run out" if left <= 0 else f"runs out after {left} of {steps} steps"
        anew = "compile_vae(vae, recipe, len(x_train)) first, which gives it a new schedule"
        raise UserError(f"This model's learning rate {out}: call {anew}.")
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.ReduceLROnPlateau | keras.callbacks.LearningRateScheduler):
            advice = "compile the model with recipe._replace(linear_decay=False)"
            raise UserError(f"{type(callback).__name__} cannot set a learning rate that falls by itself: {advice}.")


def compile_options(steps):
    """How to compile a model that trains `steps` steps an epoch: keyword arguments of `keras.Model.compile`.

    XLA compiles the training step, and one call runs a tenth of an epoch. On PyTorch, and where several TensorFlow
    devices share a batch, each call runs one step as it is written: Keras cannot do more there.
    Raises UserError where Keras is set to other numbers than this project's.
    """
    startup.check_settings()
    backend = keras.backend.backend()
    if backend == "torch" or (backend == "tensorflow" and devices.sharing() > 1):
        return {"jit_compile": False, "steps_per_execution": 1}
    return {"jit_compile": True, "steps_per_execution": max(1, steps // 10)}


class SeedEachEpoch(keras.callbacks.Callback):
    """Draws the order of the batches and all noise of an epoch from the seed and the epoch's number, and nothing else.

    So an epoch is the same whether or not the training was cut off before it. batches: a feeding.Batches.
    """

    def __init__(self, batches, seed):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.shuffle(epoch)
        states = [v for v in self.model.non_trainable_variables if v.path.endswith("seed_generator_state")]
        for number, state in enumerate(states):
            devices.assign_on_each(state, lambda device, number=number: noise_state(self.seed, epoch, number, device))


def noise_state(*key):
    """The state at which a keras.random.SeedGenerator begins an epoch, (2,) integers below 2^30, from whole numbers.

    Other numbers give a state that has nothing to do with it: neighbouring ones would share draws (on PyTorch, the sum
    of both numbers is the seed of a draw, and each draw adds one).
    """
    return np.random.SeedSequence(key).generate_state(2) >> 2


class StopIfDiverged(keras.callbacks.Callback):
    """Raises UserError as soon as the loss, the held-out loss or a weight is NaN or infinite, at whichever step."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        self.check("loss", (logs or {}).get("loss", 0.0))

    def on_epoch_end(self, epoch, logs=None):
        self.check("held-out loss", (logs or {}).get("val_loss", 0.0))
        for weight in self.model.trainable_variables:  # the last step of all may have spoiled them
            self.check("weights", ops.convert_to_numpy(weight))

    def check(self, what, values):
        """Raise UserError unless all values, a number or an array, are finite."""
        if not np.isfinite(values).all():
            where = f" in epoch {self.epoch}, its {what} became NaN or infinite"
            raise UserError(DIVERGED.format(where))


class KLLossInLogs(keras.callbacks.Callback):
    """Puts `kl_loss` and `val_kl_loss` into the logs of batches and epochs, for later callbacks and the history.

    The loss is reconstruction_loss + kl_loss, so the difference of the two that Keras tracks is the KL divergence.
    """

    def on_train_batch_end(self, batch, logs=None):
        for which in ("", "val_"):
            if f"{which}loss" in (logs or {}):
                logs[f"{which}kl_loss"] = logs[f"{which}loss"] - logs[f"{which}reconstruction_loss"]

    on_epoch_end = on_train_batch_end
