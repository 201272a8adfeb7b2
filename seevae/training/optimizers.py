"""The optimizer of a recipe, and how a model is compiled for speed."""

import keras
from keras import ops

from seevae.basics import UserError
from seevae.machine import devices, startup
from seevae.training.recipes import Recipe

HEADS = ("z_mean", "z_log_var")  # the encoder's two output layers


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
class NadamWithHeadStep(HeadStep, nadam_class()):  # type: ignore[misc]
    """Adam with Nesterov momentum (Dozat, 2016), with steps of their own for the heads."""


def make_optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
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


def compile_options(steps: int) -> dict:
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
