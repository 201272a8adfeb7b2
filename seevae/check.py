"""Is this VAE right? Judges a file that somebody wrote, and says what is wrong with it, as a teacher would.

    python -m seevae.check my_vae.py

The file is run, with its training, as `python my_vae.py` would. Then these names in it are looked at:

    encoder, decoder                 Keras models, modules or functions: x -> z_mean, z_log_var; z -> probabilities
    reconstruction_loss(x, x_hat)    (n, 784), (n, 784) -> (n,), nats per image
    sample_latent(q, seed)           q: the pair z_mean, z_log_var -> z; seed: a keras.random.SeedGenerator
    vae                              a Keras model whose KL loss was added with add_loss; or else
    kl_loss(z_mean, z_log_var)       -> (n,), nats per image

The first ones must be there; each loss and the draw are held against closed forms, and the trained network is examined
(seevae.examine) on held-out digits. Exit status: 0 where all is right, 1 where something is wrong, 2 where the file
cannot be judged. The file of 40 lines in notebooks/README.md passes.
"""

import contextlib
import io
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np

import seevae
from seevae import UserError

IMAGES, DRAWS = 1000, 20_000
PIXELS = 784


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
    }
    return compared(given, right, wrong)


def check_kl(file, x):
    """Against the closed form, for the trained encoder's q (from add_loss) or for q of all sizes (from kl_loss)."""
    if "kl_loss" in file:
        z_mean, z_log_var = np.random.default_rng(0).normal(size=(2, 50, 3)).astype("float32")
        given = numbers(file["kl_loss"](z_mean, z_log_var))
    else:
        vae = file["vae"]
        z_mean, z_log_var = (numbers(part) for part in file["encoder"](x)[:2])
        vae(x)
        if not vae.losses:
            return "there is none: add it with self.add_loss in a layer, or call it kl_loss(z_mean, z_log_var)"
        given = np.array(sum(float(loss) for loss in vae.losses))
    if given.shape not in ((), (len(z_mean),)):
        return f"it gives an array of shape {given.shape} for {len(z_mean)} images: sum over the latents, axis=-1"
    mean, log_var = z_mean.astype("float64"), z_log_var.astype("float64")
    each = 0.5 * (mean**2 + np.exp(log_var) - log_var - 1)  # (n, latents)
    right = each.sum(axis=1)
    wrong = {
        f"it is the mean over the {each.shape[1]} latents: sum over them": each.mean(axis=1),
        "it is summed over the batch: take the mean over the images": len(each) * right,
        "its sign is wrong": -right,
        "it lacks the factor 1/2": 2 * right,
        "it takes z_log_var for the variance": 0.5 * (mean**2 + log_var - np.log(np.abs(log_var)) - 1).sum(axis=1),
        "it takes z_log_var for the log of the standard deviation": (
            0.5 * (mean**2 + np.exp(2 * log_var) - 2 * log_var - 1).sum(axis=1)
        ),
        "z_mean is not squared": 0.5 * (mean + np.exp(log_var) - log_var - 1).sum(axis=1),
        "the 1 in it is missing": 0.5 * (mean**2 + np.exp(log_var) - log_var).sum(axis=1),
        "the logarithm of the variance is missing": 0.5 * (mean**2 + np.exp(log_var) - 1).sum(axis=1),
    }
    return compared(given, right, wrong)


def check_draw(file):
    """The mean, the spread and the freshness of the draws, against z_mean + exp(z_log_var / 2) * epsilon."""
    import keras

    mean, log_var = np.array([1.0, -2.0], "float32"), np.array([-2.0, 1.0], "float32")
    q = [keras.ops.convert_to_tensor(np.tile(part, (DRAWS, 1))) for part in (mean, log_var)]
    seed = keras.random.SeedGenerator(1)
    z, again = (numbers(file["sample_latent"](q, seed)) for _ in range(2))
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
    }
    found = compared(z.std(axis=0), sigma, wrong, 0.03)
    off = np.abs(z.mean(axis=0) - mean) / (sigma / DRAWS**0.5)
    return found or ("its draws do not lie around z_mean" if off.max() > 5 else None)


def compared(given, right, wrong, tolerance=2e-3):
    """What a wrong number is, in words: None where it is right. `given` is of each image, or their mean.

    wrong: {sentence: what that mistake gives}.
    """
    if not np.isfinite(given).all():
        return "it is NaN or infinite"
    for sentence, value in {None: right, **wrong}.items():
        expected = np.mean(value) if given.shape == () else value
        if np.allclose(given, expected, rtol=tolerance, atol=tolerance * np.abs(expected).mean()):
            return sentence
    return f"it gives {np.mean(given):.4g}, and {np.mean(right):.4g} would be right"


def check_trained(file, x):
    """What `examine` says of the trained network, as sentences; an empty list where nothing is wrong."""
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as place:
        result = seevae.examine(file["encoder"], file["decoder"], x, folder=Path(place) / "examined")
    return [*getattr(result, "wrong", result["findings"])]


def judge(file, x):
    """All checks of a file's names, {name: object}: yields (what was checked, what is wrong with it or None)."""
    x = np.asarray(x[:IMAGES], "float32")
    checks = {
        "reconstruction loss": ("reconstruction_loss", lambda: check_reconstruction(file)),
        "KL loss": ("kl_loss" if "kl_loss" in file else "vae", lambda: check_kl(file, x)),
        "draw of z": ("sample_latent", lambda: check_draw(file)),
    }
    for what, (name, look) in checks.items():
        yield what, look() if name in file else f"{name} is not in the file: define it"
    for sentence in (found := check_trained(file, x)) or [None]:
        yield "trained network" if not found else "trained network, examined", sentence


def run_file(path):
    """The names in a file after it was run. Raises UserError where that fails."""
    if not Path(path).is_file():
        raise UserError(f"There is no file {path}: give the Python file that holds your VAE.")
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        file = runpy.run_path(str(path), run_name="__main__")
    except (Exception, SystemExit) as error:
        line = [frame for frame in walk(error.__traceback__) if frame[0] == str(path)]
        where = f", line {line[-1][1]}" if line else ""
        raise UserError(f"{path}{where} ends in {type(error).__name__}: {error}") from error
    missing = [name for name in ("encoder", "decoder") if name not in file]
    if missing:
        raise UserError(f"{path} has no {' and no '.join(missing)}: give your two networks these names.")
    return file


def walk(traceback):
    """The (file, line) of each frame of a traceback."""
    while traceback:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def numbers(array):
    """An array of any library, or a tensor, as NumPy."""
    import keras

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
    for what, sentence in found:
        print(f"{'FAIL' if sentence else 'pass'}  {what}{': ' + sentence if sentence else ''}")
    failed = sum(sentence is not None for _, sentence in found)
    print(f"{argv[0]}: {'FAIL, ' + str(failed) + ' of these are wrong' if failed else 'PASS'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
