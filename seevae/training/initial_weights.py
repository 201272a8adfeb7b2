"""Initial weights that cover the data and the prior. Recipes (recipes.py) choose them, or Keras's own."""

from keras import initializers


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
