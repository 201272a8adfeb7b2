"""Where a training starts: initial weights that cover the data and the prior, and noise on the encoder's input.

Recipes (recipes.py) choose them. The network is the post's with each of them.
"""

import keras
from keras import initializers, layers, ops


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
