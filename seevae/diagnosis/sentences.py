"""The sentences of examine: of each finding its name, its severity and its words, with places for its numbers.

Each says what was seen, what it may come from, the likeliest first, and a test that decides or, where the cause is
sure, the cure. What stands after a slash tells several sentences of one finding apart; <...> are words that are shared.
"""

import re

SHARED = """
<switch-off> switch off what is random in evaluation, as dropout, or noise on the input (in PyTorch, model.eval()).
<alone> alone than in a batch of {batch}, by up to {apart:.2g}: an image's output must not depend on the others in its
    batch; in PyTorch call model.eval(), in Keras take training=False, and normalise by numbers of the training.
<output> The decoder's output goes from {low:.3g} to {high:.3g}, where probabilities lie in [0, 1]:
<means> a Gaussian decoder's means do so (say likelihood='gaussian'), probabilities end in a sigmoid; clipped here, as
    the other readings fit no better.
<lower> the reconstruction loss is {gain:.1f} ± {error:.1f} nats lower
<cost> Draws of q cost {cost:.1f} ± {error:.1f} nats more than z_mean, and {due:.1f} are due at the ELBO's optimum:
    the noise was not there in the training, or far smaller than sigma = exp(z_log_var / 2)
<draw> look at the line that draws: z_mean + exp(z_log_var / 2) * epsilon, with epsilon from N(0, 1).
<fresh> draw epsilon anew for each image and each step
<average> At z_mean the images cost {at_z_mean:.1f} nats, and the average image alone would cost {average:.1f}
    ({worse:+.1f} ± {error:.1f})
<weighs> The KL loss weighs {times:.3g} ± {error:.2g} times what it should beside the reconstruction loss{meant} (read
    off sigma; {stretched:.3g} off z_mean):
<or-gaussian> with a squared error it reads as a Gaussian decoder of sigma = {sigma:.2g}, and then nothing is wrong:
    say likelihood='gaussian', sigma={sigma:.2g}; if a crossentropy was meant, look at the weight of the KL loss.
<no-code> it may be that {causes}; train without the KL loss: if a code is used then, the KL loss weighed too much.
<floor> most often a relu, softplus or clip on it, which keeps sigma large: let it be the layer's own output
<meant> z_log_var is {reading}: {why}; give {mended}, with which this report goes on.
"""
SENTENCES = """
# Does it run, and is it the same each time?
training-mode look: The network was in training mode, with {count:.0f} kinds of layers that act otherwise there
    ({layers}): it was put into evaluation for this and back; call model.eval() before you use it.
random-output/encode look: z_mean differs between two calls of encode, by up to {apart:.2g}: <switch-off>
random-output/decode look: Probabilities differ between two calls of decode, by up to {apart:.2g}: <switch-off>
batch-dependent/encode wrong: Images get other codes <alone>
batch-dependent/decode wrong: Codes are decoded otherwise <alone>

# What was meant?
fields note: encode gives an object, of which the {what} are taken ({latents:.0f} latents).
one-array note: encode gives {what}, taken as z_mean and z_log_var side by side, {latents:.0f} each: split it in two.
order/z look: encode gives z {where} of three: output {place:.0f} alone differs between two calls; taken so, but give
    z_mean, z_log_var, z.
order/heads look: encode gives z_log_var before z_mean: exchanged, <lower>; taken so, but give z_mean, z_log_var.
input-range look: encode knows another range: given {inputs} <lower> than given x, and so this report goes on; give
    inputs= as in the training (normalised).
input-range/minus note: The images go from -1 to 1: encode is given them as they are, and they are compared as (x + 1)
    / 2, from 0 to 1.
logits look: <output> as logits <lower> than clipped; give their sigmoid, with which this report goes on.
outside-unit/tanh note: <output> read as -1 to 1 <lower>, and so this report goes on: (output + 1) / 2.
bytes look: <output> divided by 255 <lower>, and so this report goes on; divide it by 255.
outside-unit look: <output> <means>
outside-unit/near note: <output> <means>
double-sigmoid/range wrong: The decoder's output goes from {low:.3g} to {high:.3g}, as that of a sigmoid twice: with
    one taken off <lower>; use it once.
softmax wrong: The {pixels:.0f} outputs of the decoder sum to 1 in each image ({low:.4f} to {high:.4f}): a softmax
    over the pixels; end in a sigmoid.
thresholded wrong: The decoder gives nothing but 0 and 1 (2 values in all), so they were rounded or compared with a
    threshold, and log p(x|z) means nothing; give the probabilities before that.
log-var-floor look: z_log_var never goes below {low:.3g} ({at}): <floor>.
log-var-floor/positive look: z_log_var never goes below {low:.3g} ({at}): <floor>; or it is a variance or a standard
    deviation, and then give its logarithm.
log-var-floor/fixed look: z_log_var is {low:.3g} for all images and latents: a relu or clip on it that never lets go,
    or a sigma that was fixed; if that was meant, nothing is wrong.
mean-floor look: z_mean never goes below 0 ({share:.0%} of it are 0 exactly): a relu on it, while N(0, 1) has two
    sides; let it be the layer's own output.
variance look: <meant>
deviation look: <meant>
log-deviation look: <meant>

# The draws that encode gives
no-noise/z note: The draws z are z_mean itself, for all {images:.0f} images: nothing is drawn from q here, as many
    networks do in evaluation; in training z must be z_mean + exp(z_log_var / 2) * epsilon.
repeated-draws/images wrong: The draws z of all images share one epsilon (it differs by {apart:.0e} between them):
    <fresh>.
repeated-draws/calls wrong: Two calls of encode draw the same z (to {apart:.0e} of sigma), so the noise repeats:
    <fresh>, not from a fixed seed or key.
z-unlike-q look: The draws z do not fit z_mean and z_log_var: their noise has a mean square of {square:.2f} and not of
    1 ± {limit:.2f}; draw z_mean + exp(z_log_var / 2) * epsilon.
sigma-exp/z wrong: The draws z have sigma = exp(z_log_var): {why}, and the images want it as given; use z_log_var / 2.
sigma-exp wrong: Sigma was exp(z_log_var) in the training: {why} than with exp(z_log_var / 2), while the KL loss holds
    it as a log variance (its weight reads {wide:.2g} off sigma, {stretched:.2g} off z_mean); draw with
    exp(z_log_var / 2), and train anew.

# Does it know the images?
overfitting look: The loss of the training images is {known:.1f} nats, of these {held:.1f}: a gap of {gap:.1f} ±
    {error:.1f}; the network knows its training images by heart (more images, fewer steps or a smaller network).
double-sigmoid wrong: The decoder is far too sure: {share:.0%} of its outputs are within 0.001 of 0 or 1, and with
    logits {best:g} times as large <lower>; most often a sigmoid twice in the training's loss (probabilities given as
    logits), or the crossentropy's two arguments exchanged: compute the loss by hand for one image.
other-images wrong: The network knows other images: given {images}, it draws that with {gain:.1f} ± {error:.1f} nats
    less; give it images as in the training.
transposed wrong: decode draws {images}: against that the loss is {gain:.1f} ± {error:.1f} nats lower; give its pixels
    in the order and the shade of x.
gaussian note: The images do come back (a squared error of {squares:.1f}, and {average:.1f} as their average), but not
    by the crossentropy: means of a Gaussian, trained with a squared error (say likelihood='gaussian'), or a network
    that knows its training images by heart.
halves-apart wrong: <average>, yet the decoder has better codes for them ({best:.1f}): encoder and decoder do not
    belong together: two runs, or latents in another order; load both from one training.
untrained wrong: <average>: the network is not trained (or not its decoder), or its training diverged, or it was
    trained on other images, on another range or another crossentropy (its arguments exchanged), or knows its training
    images alone: try images of the training.
untrained/binary wrong: The decoder gives nothing but 0 and 1, and the images do not come back (a squared error of
    {squares:.1f}, and {average:.1f} as their average): the training diverged (try a smaller learning rate), or the
    outputs of an untrained network were rounded; look at the loss over the steps.
kl-sign wrong: The KL loss is {kl:.3g} nats with sigma far above 1: it may have the wrong sign; it is added to the
    loss, and never negative.
collapse wrong: Posterior collapse: no latent is used, the largest KL is {largest:.4f} nats (below {silent:g});
    <no-code>
collapse/nearly wrong: Posterior collapse: the codes carry next to nothing, {kl:.2f} nats in all, and with the code of
    another image the loss is {cost:+.2f} ± {error:.2f} nats higher; <no-code>

# Are draws of q as good as it says?
repeated-noise wrong: The noise of the training repeats: with one epsilon in all images, {length:.1f} long, <lower>
    than at z_mean and at draws; <fresh>.
uniform-noise wrong: The noise of the training lay around {place:.2f} sigma in all {count:.0f} latents in use, where
    the loss is {gain:.1f} ± {error:.1f} nats lower than at z_mean: uniform noise from 0 to 1; draw it from N(0, 1).
no-noise wrong: <cost>; <draw>
no-noise/positive wrong: <cost>, or z_log_var, all of it positive, is a variance or a deviation (give its logarithm);
    <draw>

# What the code is like
silent-latents note: {silent:.0f} of {latents:.0f} latents went silent ({names}): their KL is {most:.4f} nats at most,
    below {limit:g}; fewer latents do the same.
ignores-z wrong: The decoder ignores z: with the code of another image it loses {cost:.2f} ± {error:.2f} nats, for a
    code that costs {kl:.1f}; <no-code>
kl-weight-high look: <weighs> the reconstruction loss is a mean where the KL loss is a sum (sum the reconstruction loss
    over the {pixels:.0f} pixels, take the mean of both over the batch), or a weight stands in the loss: if it was
    meant, say beta={beta:.2g}.
kl-weight-high/beta look: <weighs> a beta of {beta:.2g} stands in the loss (if it was meant, say beta={beta:.2g}), or
    one of the two losses is a mean where the other is a sum over pixels, latents or batch.
kl-weight-low look: <weighs> it was left out, stands there with a small weight, or is a mean over latents or batch
    where the reconstruction loss is a sum; add the KL loss, summed over the latents and with the same mean over the
    batch, or say what was meant, as beta={beta:.2g}.
kl-weight-low/sigma look: The KL loss holds z_mean (its weight reads {stretched:.3g}) and not sigma ({times:.2g} ±
    {error:.1g}): its term z_log_var may be missing or outside the sum; compute the KL of one image by hand.
kl-weight-high/gaussian note: <weighs> <or-gaussian>
kl-weight-low/gaussian note: <weighs> <or-gaussian>
off-prior look: The codes leave the prior in {count:.0f} of {latents:.0f} latents: those of z{worst:.0f} are
    {nats:.1f} ± {error:.1f} nats from N(0, 1) (at most {limit:g}), so draws of the prior are not what the decoder
    knows; look at the KL loss: its weight, and the term z_mean^2.
"""


def parsed(text, start):
    """{key: words} of a text with one entry a line, `key words`, or several lines of which the others are indented."""
    joined = re.sub(r"\n    ", " ", text)
    return dict(re.match(start, line).groups() for line in joined.splitlines() if line and line[0] != "#")


KNOWN, PARTS = parsed(SENTENCES, r"(\S+) (\w+: .*)"), parsed(SHARED, r"<(.*?)> (.*)")


class Finding(str):
    """A sentence, with a short name that stays, a severity ("wrong", "look" or "note") and its numbers."""

    name: str
    severity: str
    numbers: dict

    def __new__(cls, key: str, **values):
        """The one of SENTENCES with this key, with these values in their places."""
        severity, words = re.sub("<(.*?)>", lambda part: PARTS[part[1]], KNOWN[key]).split(": ", 1)
        self = super().__new__(cls, words.format(**values))
        self.name, self.severity = key.split("/")[0], severity
        self.numbers = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
        return self
