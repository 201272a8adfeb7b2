"""Is this VAE right? Judges a file that somebody wrote, and says what is wrong with it, as a teacher would.

    python -m seevae.check my_vae.py

The file is run, with its training, as `python my_vae.py` would. Then these names in it are looked at:

    encoder, decoder                 Keras models, modules or functions: x -> z_mean, z_log_var; z -> probabilities
    reconstruction_loss(x, x_hat)    (n, 784), (n, 784) -> (n,), nats per image
    sample_latent(q, seed)           q: the pair z_mean, z_log_var -> z; seed: a keras.random.SeedGenerator
    vae                              a Keras model whose KL loss was added with add_loss; or, or as well,
    kl_loss(z_mean, z_log_var)       -> (n,), nats per image

The first ones must be there; each loss and the draw are held against closed forms, and the trained network is examined
(seevae.examine) on held-out digits. Exit status: 0 where all is right, 1 where something is wrong, 2 where the file
cannot be judged. The file of 40 lines in notebooks/README.md passes.
"""

import contextlib
import runpy
import sys
from pathlib import Path

import numpy as np

import seevae
from seevae import UserError

IMAGES, DRAWS = 1000, 20_000
PIXELS = 784
DIVERGED = (
    "the trained encoder gives NaN or infinite numbers: its training diverged, as with a KL of the wrong sign,"
    " pixels up to 255 or far too large steps"
)
BEYOND_TWO_SIGMA = 0.0455  # the share of N(0, 1)
FLOORS = ("mean-floor", "log-var-floor", "log-var-floor/positive")  # keys of findings of seevae.diagnosis


def check_reconstruction(file):
    """Against -log p(x|z) of coins, summed by hand. Returns what is wrong, or None."""
    rng = np.random.default_rng(0)
    x, x_hat = rng.random((50, PIXELS), "float32"), rng.uniform(0.05, 0.95, (50, PIXELS)).astype("float32")
    right = -(x * np.log(x_hat) + (1 - x) * np.log(1 - x_hat)).sum(axis=1)
    given = numbers(file["reconstruction_loss"](x, x_hat))
    if given.shape not in ((50,), ()):
        return f"it gives an array of shape {given.shape} for 50 images: give one number an image, (50,)"
    squares = ((x - x_hat) ** 2).sum(axis=1)
    wrong = {
        "it is the mean over the pixels: multiply it by their number, 784": right / PIXELS,
        "it is a squared error, without its variance": squares,
        "it is a mean of squared errors": squares / PIXELS,
        "its sign is wrong: the loss is minus the log-likelihood": -right,
        "it takes the probabilities for logits": (np.logaddexp(0, x_hat) - x * x_hat).sum(axis=1),
        "x and x_hat have changed places": -(x_hat * np.log(x) + (1 - x_hat) * np.log(1 - x)).sum(axis=1),
        "the pixels' other half, (1 - x) * log(1 - x_hat), is missing": -(x * np.log(x_hat)).sum(axis=1),
        "it is the sum over the images: take the mean, or one an image": len(x) * right,
    }
    return compared(given, right, wrong)


def check_kl(file, x):
    """Against the closed form: kl_loss for q of all sizes, and what the model adds for the trained encoder's q.

    Where kl_loss is right, the model may add something else beside it; only known mistakes are told of that.
    """
    if "kl_loss" not in file:
        return check_added_kl(file, x)
    q = np.random.default_rng(0).normal(size=(2, 50, 3)).astype("float32")
    given = numbers(file["kl_loss"](*q))
    if given.shape not in ((), (50,)):
        return f"it gives an array of shape {given.shape} for 50 images: sum over the latents, axis=-1"
    found = compared(given, *kl_and_its_mistakes(*q.astype("float64")))
    if found or not is_keras(file.get("vae")):
        return found
    found = check_added_kl(file, x) or ""
    return f"the model adds another: {found}" if found.startswith("it is") else None


def check_added_kl(file, x):
    """The KL loss that the model adds for images x; the mean of ten calls, where it is estimated from draws."""
    vae, q = file["vae"], q_of(file["encoder"], x)
    if not np.isfinite(q).all():
        return DIVERGED

    def added():
        called(vae, x)
        return sum(numbers(loss).sum() for loss in vae.losses)  # Keras sums what is no single number

    given = [added(), added()]
    if not vae.losses:
        return "there is none: add it with self.add_loss in a layer, or call it kl_loss(z_mean, z_log_var)"
    given += [added() for _ in range(8)] if given[0] != given[1] else []
    right, wrong = kl_and_its_mistakes(*q.astype("float64"))
    error = np.std(given) / len(given) ** 0.5 / right.mean()
    return compared(np.mean(given) - price_of_weights(vae), right, wrong, max(2e-3, 5 * error))


def price_of_weights(model):
    """What a Keras model's regularizers add to its loss for large weights."""
    return sum(float(weight.regularizer(weight)) for weight in model.trainable_variables if weight.regularizer)


def kl_and_its_mistakes(mean, log_var):
    """The KL of each image, (n,), and what each known mistake gives, {sentence: (n,)}; of q (n, latents)."""
    each = 0.5 * (mean**2 + np.exp(log_var) - log_var - 1)  # (n, latents)
    right, size = each.sum(axis=1), np.maximum(np.abs(log_var), 1e-30)
    return right, {
        f"it is the mean over the {each.shape[1]} latents: sum over them": each.mean(axis=1),
        "it is summed over the batch: take the mean over the images": len(each) * right,
        "it is summed over the images, axis 0, and not over the latents, axis -1": len(each) * each.mean(axis=1),
        "its sign is wrong": -right,
        "it lacks the factor 1/2": 2 * right,
        "it takes z_log_var for the variance": 0.5 * (mean**2 + log_var - np.log(size) - 1).sum(axis=1),
        "it takes z_log_var for the log of the standard deviation": (
            0.5 * (mean**2 + np.exp(2 * log_var) - 2 * log_var - 1).sum(axis=1)
        ),
        "it is KL(prior || q), the other way round": 0.5 * (log_var + (1 + mean**2) / np.exp(log_var) - 1).sum(axis=1),
        "z_mean is not squared": 0.5 * (mean + np.exp(log_var) - log_var - 1).sum(axis=1),
        "the 1 in it is missing": 0.5 * (mean**2 + np.exp(log_var) - log_var).sum(axis=1),
        "the logarithm of the variance is missing": 0.5 * (mean**2 + np.exp(log_var) - 1).sum(axis=1),
        "the logarithm of the variance has the wrong sign": 0.5 * (mean**2 + np.exp(log_var) + log_var - 1).sum(axis=1),
    }


def check_draw(file):
    """The mean, the spread and the freshness of the draws, against z_mean + exp(z_log_var / 2) * epsilon."""
    import keras

    mean, log_var = np.array([1.0, -2.0], "float32"), np.array([-2.0, 1.0], "float32")
    q = [keras.ops.convert_to_tensor(np.tile(part, (DRAWS, 1))) for part in (mean, log_var)]
    seed = keras.random.SeedGenerator(1)
    z, again = (drawn(file["sample_latent"], q, seed) for _ in range(2))
    if z.shape != (DRAWS, 2):
        return f"it gives shape {z.shape} for z_mean of shape {(DRAWS, 2)}"
    if np.ptp(z, axis=0).max() < 1e-6:
        return "all images get the same epsilon, or none: draw it in the shape of z_mean"
    if np.abs(z - again).max() < 1e-6:
        return "two calls draw the same: give the random numbers a SeedGenerator, not a whole number"
    sigma = np.exp(log_var / 2)
    wrong = {
        "exp(z_log_var) is the variance: the standard deviation is exp(z_log_var / 2)": np.exp(log_var),
        "z_log_var is taken for the standard deviation": np.abs(log_var),
        "z_mean and z_log_var have changed places": np.exp(mean / 2),
        "the standard deviation is exp(z_log_var / 2), not exp(-z_log_var / 2)": 1 / sigma,
        "epsilon is even between 0 and 1: draw it from N(0, 1)": sigma / 12**0.5,
    }
    if found := compared(z.std(axis=0), sigma, wrong, 0.03, "the standard deviation of its draws is"):
        return found
    epsilon = (z - mean) / sigma
    if np.abs(epsilon.mean(axis=0)).max() > 5 / DRAWS**0.5:
        return "its draws do not lie around z_mean"
    if np.abs(np.mean(np.abs(epsilon) > 2) - BEYOND_TWO_SIGMA) > 0.01:
        return "epsilon is not drawn from a Gaussian: take N(0, 1)"
    return "all latents get the same epsilon: draw it in the shape of z_mean" if np.corrcoef(z.T)[0, 1] > 0.9 else None


def drawn(sample_latent, q, seed):
    """A draw with a SeedGenerator, or else, as JAX's users write it, with a key."""
    try:
        return numbers(sample_latent(q, seed))
    except TypeError as error:
        with contextlib.suppress(Exception):
            return numbers(sample_latent(q, seed.next()))
        raise error


def check_fresh(file, x):
    """Whether the model itself draws anew: its images for x, twice; they may also be those of z_mean."""
    once, again = (called(file["vae"], x) for _ in range(2))
    if once is None or not np.isfinite(once).all() or np.abs(once - again).max() > 1e-6:
        return None
    at_mean = numbers(file["decoder"](q_of(file["encoder"], x)[0]))
    if once.shape != at_mean.shape or np.abs(once - at_mean).max() < 1e-3:
        return None
    return "the model draws the same at each call: give its draw a SeedGenerator, not a whole number"


def is_keras(model):
    """Whether it is a Keras model."""
    return hasattr(model, "predict") and hasattr(model, "losses")


def q_of(encoder, x):
    """z_mean and z_log_var of images x (n, 784): (2, n, latents). Raises UserError where the encoder gives no pair."""
    given = encoder(x)
    if not isinstance(given, list | tuple) or len(given) < 2:
        raise UserError(f"the encoder gives one array, {np.shape(given)}: give a pair, z_mean and z_log_var")
    return np.stack([numbers(part) for part in given[:2]])


def called(model, x):
    """The images that a model gives for x, or None where it is made to be trained, and not to be called."""
    import keras

    try:
        return numbers(keras.tree.flatten(model(x))[0])
    except NotImplementedError:
        return None


def compared(given, right, wrong, tolerance=2e-3, it="it gives"):
    """What a wrong number is, in words: None where it is right. `given` is of each image, or their mean.

    wrong: {sentence: what that mistake gives}; it: how a sentence begins for what is none of these.
    """
    if not np.isfinite(given).all():
        return "it is NaN or infinite"
    for sentence, value in {None: right, **wrong}.items():
        expected = np.mean(value) if given.shape == () else value
        if np.allclose(given, expected, rtol=tolerance, atol=tolerance * np.abs(expected).mean()):
            return sentence
    return f"{it} {listed(given)}, and {listed(right)} would be right"


def listed(values):
    """The mean of many numbers, or the few that there are, as text."""
    values = np.ravel(values)
    return ", ".join(f"{value:.4g}" for value in (values if len(values) < 3 else [values.mean()]))


def check_trained(file, x):
    """What `examine` says of the trained network, as sentences; an empty list where nothing is wrong.

    A relu on z_mean or z_log_var, which elsewhere may be meant, is wrong here, but not a sigma that was fixed.
    """
    try:
        if bounded := bounded_heads(file["encoder"], x):
            return bounded
        found = seevae.examine(file["encoder"], file["decoder"], x, folder=None)
        return [*found.wrong, *(look for look in found.look if look.key in FLOORS)]
    except UserError as error:  # it could not be used at all
        return [str(error)]
    except Exception as error:  # the names are there, and are no networks
        return [f"it ends in {type(error).__name__}: {first_line(error)}"]


def bounded_heads(encoder, x):
    """Sentences of z_mean or z_log_var that stays within 1, however large the pixels are."""
    heads = zip(("z_mean", "z_log_var"), q_of(encoder, 1000 * x), strict=True)
    bounded = [name for name, head in heads if abs(np.abs(head).max() - 1) < 1e-3]
    return [
        f"{name} stays within 1, as with a tanh or sigmoid on it: let it be the layer's own output" for name in bounded
    ]


def judge(file, x):
    """All checks of a file's names, {name: object}: yields (what was checked, what is wrong with it or None)."""
    x = np.asarray(x[:IMAGES], "float32")
    checks = {  # what: (the names of which one must be there, how they are called, the check)
        "reconstruction loss": (["reconstruction_loss"], "two arrays (50, 784)", lambda: check_reconstruction(file)),
        "KL loss": (["kl_loss", "vae"], "arrays, z_mean and z_log_var or images", lambda: check_kl(file, x)),
        "draw of z": (["sample_latent"], "a pair (n, 2) and a keras.random.SeedGenerator", lambda: check_draw(file)),
    }
    if is_keras(file.get("vae")):
        checks["draw in the model"] = (["vae"], "images", lambda: check_fresh(file, x))
    for what, (names, given, look) in checks.items():
        if not any(name in file for name in names):
            yield what, f"{' or '.join(names)} is not in the file: define it"
            continue
        try:
            yield what, look()
        except UserError as error:
            yield what, str(error)
        except Exception as error:  # in the student's function, of whatever kind
            yield what, f"called with {given}, it ends in {type(error).__name__}: {first_line(error)}"
    for sentence in (found := check_trained(file, x)) or [None]:
        yield "trained network" if not found else "trained network, examined", sentence


def run_file(path):
    """The names in a file after it was run. Raises UserError where that fails, or it is a notebook."""
    if not Path(path).is_file():
        raise UserError(f"There is no file {path}: give the Python file that holds your VAE.")
    if Path(path).suffix == ".ipynb":
        raise UserError(f"{path} is a notebook: write it as a file first, `jupyter nbconvert --to script {path}`.")
    sys.path.insert(0, str(Path(path).resolve().parent))
    sys.argv = [str(path)]  # as it would find it: many a file reads its own options
    try:
        file = runpy.run_path(str(path), run_name="__main__")
    except (Exception, SystemExit) as error:
        line = [frame for frame in walk(error.__traceback__) if frame[0] == str(path)]
        where = f", line {line[-1][1]}" if line else ""
        raise UserError(f"{path}{where} ends in {type(error).__name__}: {first_line(error)}") from error
    missing = [name for name in ("encoder", "decoder") if name not in file]
    if missing:
        raise UserError(f"{path} has no {' and no '.join(missing)}: give your two networks these names.")
    return file


def walk(traceback):
    """The (file, line) of each frame of a traceback."""
    while traceback:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def first_line(error):
    """What an error says, in one line: Keras adds the shapes of all that it was given."""
    return next((line for line in str(error).splitlines() if line.strip()), "no more is said")


def numbers(array):
    """An array of any library, or a tensor, as NumPy. Raises UserError for what a function without `return` gives."""
    import keras

    if array is None:
        raise UserError("it gives nothing: a return is missing")
    return np.asarray(keras.ops.convert_to_numpy(array))


def main(argv):
    """The command; returns its exit status."""
    if len(argv) != 1 or argv[0].startswith("-"):
        print(__doc__)
        return 0 if argv in (["-h"], ["--help"]) else 2
    try:
        file = run_file(argv[0])
        found = [*judge(file, seevae.load_data().x_test)]
    except UserError as error:
        print(f"Cannot judge it. {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Stopped: {argv[0]} is not judged.", file=sys.stderr)
        return 130
    for what, sentence in found:
        print(f"{'FAIL' if sentence else 'pass'}  {what}{': ' + sentence if sentence else ''}")
    failed = sum(sentence is not None for _, sentence in found)
    print(f"{argv[0]}: {'FAIL, ' + str(failed) + ' of these are wrong' if failed else 'PASS'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
