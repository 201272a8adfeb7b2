"""Noise on the encoder's input, as in a denoising autoencoder. Recipes (recipes.py) choose it, or a clean input."""

import keras
from keras import layers, ops


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
