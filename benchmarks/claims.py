"""The post's claims about training, with three seeds each: the numbers that the notebooks quote.

    python benchmarks/claims.py [--data FILE.npz] [EXPERIMENT ...]

Each experiment changes one thing and trains both ways. The record is benchmarks/claims.json; the notebooks show its
tables. On JAX (KERAS_BACKEND=jax), whose epochs are shorter, all together took 6,400 seconds of one core each.
"""

import functools
import sys
import time

from record import ROOT, main

sys.path.insert(0, str(ROOT / "notebooks"))

import lab
import numpy as np
from lab import beta as betas
from lab import bugs as bugs_on_purpose
from lab import causes, controls, directions, gradients, grey, own_q, posteriors, without_kl
from lab import gap as gaps

import vae_mnist
from seevae.machine import devices
from seevae.results import evidence, pictures
from seevae.training.input_noise import StochasticBinarisation

# isort: split
import keras

SEEDS = (0, 1, 2)
load = functools.cache(lab.load)


def mean(values):
    """A float for the record; None where the values are not known."""
    value = float(np.mean(values))
    return value if np.isfinite(value) else None


WAYS = {  # of sections 2 and 4 of the first notebook
    "Keras's initial weights": lab.PLAIN._replace(epochs=15),
    "the author's recipe": lab.AUTHOR._replace(epochs=15),
    "spread initial weights": lab.CLEAN._replace(epochs=15),
}


def rate_codes(model, z, some, test):
    """How good a decoder is from N(0, I) and from the Gaussian of its own codes z, and what it generates."""
    decoder, drawn = model.get_layer("decoder"), causes.generate(model, len(some))
    return {
        "reconstruction": mean(lab.reconstruction(model, test)),
        "log_p": mean(lab.log_evidence(decoder, test)),
        "log_p_own_codes": mean(lab.log_evidence(lab.on_own_codes(decoder, z), test, tolerance=0.1)),
        "spread": [float(value) for value in z.std(axis=0)],
        "average_off": causes.distance_of_averages(drawn, some),
        "covariances": causes.covariance_explained(drawn, some),
    }


def starts(dataset):
    """Autoencoder and VAE, 20,000 images, no noise on the input: what initial weights and optimizer do to the codes."""
    x, test = dataset.x_train[: lab.few(20_000, 500)], dataset.x_test[: lab.few(1000, 20)]
    some = dataset.x_train[: lab.few(10_000, 500)]
    for way, recipe in WAYS.items():
        for seed in SEEDS:
            for kind in ("autoencoder", "VAE"):
                if kind == "autoencoder":
                    model = lab.train_autoencoder(x, recipe, seed)
                    z, _ = lab.encode(model, x)
                else:
                    model, _ = lab.train_vae(x, recipe, seed)
                    z = lab.codes(model, x)
                yield {"start": way, "kind": kind, "seed": seed, **rate_codes(model, z, some, test)}


def halves(dataset):
    """The two halves of the VAE apart, and the denoising autoencoder, as in `starts` from Keras's initial weights."""
    x, test = dataset.x_train[: lab.few(20_000, 500)], dataset.x_test[: lab.few(1000, 20)]
    some = dataset.x_train[: lab.few(10_000, 500)]
    recipe = WAYS["Keras's initial weights"]
    for seed in SEEDS:
        models = {
            "draws, but no KL loss": lab.variant(beta=0, recipe=recipe, seed=seed),
            "KL loss, but no draws": lab.variant(controls.mean_alone, recipe=recipe, seed=seed),
        }
        for model in models.values():
            lab.fit(model, x, vae_mnist.reconstruction_loss, recipe, seed)
        noise = keras.layers.GaussianNoise(0.5, seed=seed)
        models["denoising autoencoder"] = lab.train_autoencoder(x, recipe, seed, noise)
        for kind, model in models.items():
            z = lab.codes(model, x) if kind.startswith("draws") else lab.encode(model, x)[0]
            yield {"kind": kind, "seed": seed, **rate_codes(model, z, some, test)}


def jobs(dataset):
    """An autoencoder, a denoising one and a VAE at five jobs, with 2 and with 10 latents, as in `halves`."""
    x, test = dataset.x_train[: lab.few(20_000, 500)], dataset.x_test
    noisy = test + 0.5 * np.random.default_rng(1).standard_normal(test.shape, "float32")
    letters, recipe = controls.capital_letters(), WAYS["Keras's initial weights"]
    some, truth = dataset.x_test[:2000], dataset.y_test[:2000]

    def features(code):
        return controls.with_few_labels(code(x), dataset.y_train[: len(x)], code(some), truth)

    pixels = features(lambda images: images)
    for latents in (2, 10):
        for seed in SEEDS:
            gaussian = keras.layers.GaussianNoise(0.5, seed=seed)
            models = {
                "autoencoder": lab.train_autoencoder(x, recipe, seed, None, latents),
                "denoising autoencoder": lab.train_autoencoder(x, recipe, seed, gaussian, latents),
                "VAE": lab.train_vae(x, recipe, seed, latents)[0],
            }
            for kind, model in models.items():

                def strange(images, model=model, kind=kind):
                    """What an image costs: the loss that the model was trained by."""
                    if kind != "VAE":
                        return lab.reconstruction(model, images)
                    return -lab.elbo_of(model.get_layer("decoder"), images, *lab.encode(model, images))[0]

                yield {
                    "latents": latents,
                    "kind": kind,
                    "seed": seed,
                    "clean": mean(lab.reconstruction(model, test)),
                    "noisy": mean(lab.reconstruction(model, test, noisy)),
                    "covariances": causes.covariance_explained(causes.generate(model), x[:10_000]),
                    "few_labels": features(lambda images, model=model: lab.encode(model, images)[0]),
                    "few_labels_pixels": pixels,
                    "letters": mean(strange(letters)[:, None] > strange(test[:1000])),
                }


def pca(dataset):
    """Principal components as a Gaussian generator, of the 20,000 images of `starts`; the seed is that of the draws."""
    from sklearn.neighbors import KNeighborsClassifier

    x, test = dataset.x_train[: lab.few(20_000, 500)], dataset.x_test
    some = dataset.x_train[: lab.few(10_000, 500)]
    for components in (2, 3, 5, 10, 15, 20):
        found = controls.PCA(x, components)
        judge = KNeighborsClassifier(15).fit(found.encode(some), dataset.y_train[: len(some)])
        classes = float(judge.score(found.encode(test), dataset.y_test))
        squares = float(np.sum((found.decode(found.encode(test)) - test) ** 2) / len(test))
        for seed in SEEDS:
            drawn = found.decode(np.random.default_rng(seed).standard_normal((len(some), components)))
            yield {
                "components": components,
                "seed": seed,
                "average_off": causes.distance_of_averages(drawn, some),
                "covariances": causes.covariance_explained(drawn, some),
                "classes": classes,
                "squares": squares,
            }


def no_kl(dataset):
    """The gallery's "no KL" from both starts: the KL that q then has, and how far its codes spread."""
    x, test = dataset.x_train[: lab.few(20_000, 300)], dataset.x_test[: lab.few(10_000, 100)]
    bug = bugs_on_purpose.BUGS["no KL"]
    for spread in (True, False):
        recipe = lab.DEFAULT._replace(epochs=bugs_on_purpose.EPOCHS, spread_weights=spread)
        for seed in SEEDS:
            model = lab.variant(beta=0, recipe=recipe, seed=seed)
            lab.fit(model, x, vae_mnist.reconstruction_loss, recipe, seed)
            found = {key: mean(value) for key, value in bugs_on_purpose.rate_bug(bug, model, test).items()}
            z_mean = lab.encode(model, test)[0]
            start = "spread initial weights" if spread else "Keras's initial weights"
            yield {"start": start, "seed": seed, **found, "spread": [float(value) for value in z_mean.std(axis=0)]}


def samples(dataset):
    """20,000 images, 12 epochs: the classes of draws from the prior, and what lies between two codes."""
    from sklearn.neighbors import KNeighborsClassifier

    x, number = dataset.x_train[: lab.few(20_000, 500)], lab.few(10_000, 100)
    judge = controls.digit_judge(dataset)
    known = slice(0, lab.few(10_000, 500))
    neighbours = KNeighborsClassifier(5).fit(dataset.x_train[known], dataset.y_train[known])
    right = float(np.mean(judge(dataset.x_test).argmax(axis=1) == dataset.y_test))
    pairs = np.random.default_rng(0).permutation(len(dataset.x_test))[: 2 * lab.few(1000, 20)].reshape(2, -1)
    for latent_dim in (2, 20):
        for seed in SEEDS:
            vae, _ = lab.train_vae(x, lab.DEFAULT._replace(epochs=12), seed, latent_dim)
            drawn = lab.decode(vae, np.random.default_rng(seed).standard_normal((number, latent_dim)))
            sure = judge(drawn)
            shares = {
                "network": np.bincount(sure.argmax(axis=1), minlength=10) / number,
                "neighbours": np.bincount(neighbours.predict(drawn[:2000]), minlength=10) / len(drawn[:2000]),
            }
            ends = lab.encode(vae, dataset.x_test[pairs.ravel()])[0].reshape(*pairs.shape, latent_dim)
            middles = {way: controls.between(*ends, 0.5, way == "sphere") for way in ("line", "sphere")}
            places = {"end": ends[0], **middles}
            yield {
                "latents": latent_dim,
                "seed": seed,
                "judge_right": right,
                "unsure": float(np.mean(sure.max(axis=1) < 0.5)),
                "shares": {name: [float(share) for share in part] for name, part in shares.items()},
                "between": {
                    way: {
                        "radius": mean(np.linalg.norm(z, axis=1)),
                        "entropy": mean(grey.grey_entropy(lab.decode(vae, z))),
                        "sure": mean(judge(lab.decode(vae, z)).max(axis=1)),
                    }
                    for way, z in places.items()
                },
            }


def mixture_prior(dataset):
    """A prior that is trained with the model, a mixture of ten Gaussians, beside N(0, I); 20,000 images, pairs."""
    x = dataset.x_train[: lab.few(20_000, 500)]
    for seed in range(5):  # as the pairs differ by more than is looked for
        for components in (0, 10):
            model, prior = controls.train_with_prior(x, components, lab.DEFAULT._replace(epochs=12), seed)
            elbo = controls.elbo_with_prior(model, prior, dataset.x_test)
            yield {"components": components, "seed": seed, "elbo": elbo}


def noise(dataset):
    """The plain and the denoising autoencoder, on few and on all images."""
    noisy_test = dataset.x_test + 0.5 * np.random.default_rng(1).standard_normal(dataset.x_test.shape, "float32")
    for images, epochs in ((4000, 40), (60_000, 12)):
        x = dataset.x_train[: lab.few(images, 500)]
        for seed in SEEDS:
            layers = {
                "none": None,
                "binary": StochasticBinarisation(seed),
                "Gaussian 0.5": keras.layers.GaussianNoise(0.5, seed=seed),
            }
            for name, layer in layers.items():
                model = lab.train_autoencoder(x, lab.PLAIN._replace(epochs=epochs), seed, layer)
                yield {
                    "images": len(x),
                    "noise": name,
                    "seed": seed,
                    "training": mean(lab.reconstruction(model, x[:4000])),
                    "held_out": mean(lab.reconstruction(model, dataset.x_test)),
                    "from_noisy": mean(lab.reconstruction(model, dataset.x_test, noisy_test)),
                    "classes": lab.classes_from_codes(model, dataset),
                }


def binarised_input(dataset):
    """The VAE with and without stochastic binarisation: 50,000 training images, scored on the other 10,000."""
    cut = lab.few(50_000, 500)
    halves = dataset._replace(
        x_train=dataset.x_train[:cut],
        y_train=dataset.y_train[:cut],
        x_test=dataset.x_train[cut:][:10_000],
        y_test=dataset.y_train[cut:][:10_000],
    )
    for seed in SEEDS:
        for recipe in (lab.DEFAULT, lab.CLEAN):
            vae, _ = lab.train_vae(halves.x_train, recipe._replace(epochs=12), seed)
            known = halves.x_train[:10_000]
            loss, loss_training = (-vae_mnist.evaluate_elbo(vae, x, samples=5)["elbo"] for x in (halves.x_test, known))
            yield {
                "binarised": recipe.binarised_input,
                "seed": seed,
                "loss": loss,
                "loss_training": loss_training,
                "by_heart": loss - loss_training,
                "classes": lab.classes_from_codes(vae, halves),
            }


def squared_error(dataset):
    """The VAE with a Gaussian likelihood of fixed variance: squared error plus KL, scored by its own ELBO."""
    x, test = dataset.x_train[: lab.few(20_000, 500)], dataset.x_test[:2000]
    recipe = lab.DEFAULT._replace(epochs=10)
    for seed in SEEDS:
        for variance in (0.01, 0.03, 0.05, 0.1, 0.5):
            keras.utils.set_random_seed(seed)
            loss = lab.gaussian_loss(variance)
            model = lab.fit(vae_mnist.build_vae(recipe, seed=seed), x, loss, recipe, seed)
            z_mean, z_log_var = lab.encode(model, test)
            x_hat = lab.decode(model, z_mean)
            yield {
                "variance": variance,
                "seed": seed,
                "elbo": lab.own_elbo(model, test, loss),
                "kl": mean(lab.kl_of(z_mean, z_log_var)),
                "squares": float(np.sum((test - x_hat) ** 2) / len(test)),
            }


def kl_term(dataset):
    """With and without the KL term, 10,000 images: log p(x) from N(0, I), and from its own codes' Gaussian."""
    x = dataset.x_train[: lab.few(10_000, 300)]
    parts = {"train": dataset.x_train[: lab.few(500, 20)], "test": dataset.x_test[: lab.few(500, 20)]}
    for seed in SEEDS:
        for name, model in without_kl.with_and_without_kl(x, seed).items():
            decoder, z = model.get_layer("decoder"), lab.codes(model, x)
            own = lab.on_own_codes(decoder, z)
            q = lab.encode(model, parts["test"])
            yield {
                "loss": name,
                "seed": seed,
                "sigma": float(np.median(without_kl.widths_of_q({name: model}, parts["test"])[name])),
                "kl": mean(lab.kl_of(*q)),
                "log_p": {part: mean(lab.log_evidence(decoder, y)) for part, y in parts.items()},
                "log_p_own_codes": {part: mean(lab.log_evidence(own, y)) for part, y in parts.items()},
                "blur": mean(grey.grey_entropy(lab.decode(model, q[0]))),
            }


def maximum_likelihood(dataset):
    """With and without the KL term, on 2,000 images, for 2, 20 and 50 latents."""
    x, test = dataset.x_train[: lab.few(2000, 500)], dataset.x_test[: lab.few(1000, 20)]
    others = dataset.x_train[2000:][: lab.few(20_000, 500)]
    recipe, samples = lab.AUTHOR._replace(epochs=200), lab.few(500, 10)
    for latent_dim in (2, 20, 50):
        for seed in SEEDS:
            for kl in (True, False):
                model = lab.variant(beta=int(kl), recipe=recipe, latent_dim=latent_dim, seed=seed)
                lab.fit(model, x, vae_mnist.reconstruction_loss, recipe, seed)
                decoder = model.get_layer("decoder")
                terms = {name: vae_mnist.evaluate_elbo(model, y, 3) for name, y in (("train", x), ("test", test))}
                log_p = {}
                for prior, judged in (
                    ("prior", decoder),
                    ("own_codes", lab.on_own_codes(decoder, lab.codes(model, x))),
                ):
                    judge = lab.new_encoder(judged, others, lab.AUTHOR._replace(epochs=10), seed)
                    log_p[prior] = {
                        name: mean(evidence.importance_weighted(*vae_mnist.halves(judge), y, samples))
                        for name, y in (("train", x[: len(test)]), ("test", test))
                    }
                yield {
                    "latents": latent_dim,
                    "kl": kl,
                    "seed": seed,
                    "reconstruction": {name: part["reconstruction_loss"] for name, part in terms.items()},
                    "kl_loss": {name: part["kl_loss"] for name, part in terms.items()},
                    "log_p": log_p["prior"],
                    "log_p_own_codes": log_p["own_codes"],
                }


def gap(dataset):
    """What the ELBO leaves out of log p(x) of 500 held-out digits, from the untrained model on, by both recipes."""
    for seed in SEEDS:
        for recipe in (lab.DEFAULT, lab.AUTHOR._replace(epochs=30)):
            moments = gaps.Moments(*lab.first(dataset.x_test, dataset.y_test))
            lab.train_vae(dataset.x_train, recipe, seed, callbacks=[moments], steps_in_a_call=10)
            for step, digits in moments.digits.items():
                yield {
                    "recipe": recipe.name,
                    "steps": step,
                    "seed": seed,
                    "log_p": mean(digits.log_p),
                    "elbo": mean(digits.elbo),
                    "gap": mean(digits.gap),
                    "median": float(np.median(digits.gap)),
                }


def generalisation(dataset):
    """The gap of training and of held-out digits, with and without noise on the input."""
    parts = {"train": dataset.x_train[: lab.few(500, 20)], "test": dataset.x_test[: lab.few(500, 20)]}
    for seed in SEEDS:
        for recipe in (lab.DEFAULT, lab.CLEAN):
            vae, _ = lab.train_vae(dataset.x_train, recipe._replace(epochs=12), seed)
            for name, x in parts.items():
                digits = lab.measure(vae, x, None, on_grid=False)
                yield {
                    "binarised": recipe.binarised_input,
                    "digits": name,
                    "seed": seed,
                    "gap": mean(digits.gap),
                    "median": float(np.median(digits.gap)),
                }


def ratios(drawn):
    """The median variance ratio of each estimator but the last, of gradients.draws_of: {"plain", "baseline"}."""
    names = dict(zip(("plain", "baseline"), gradients.ESTIMATORS, strict=False))
    return {name: float(np.median(gradients.variance_ratios(drawn, estimator))) for name, estimator in names.items()}


def default_model(dataset):
    """What the notebooks say of the one default model that they train, with three seeds."""
    one_encoder = lab.DEFAULT._replace(epochs=12)
    for seed in SEEDS:
        vae, _ = lab.train_vae(dataset.x_train, lab.DEFAULT, seed)
        decoder, encoder = vae.get_layer("decoder"), vae.get_layer("encoder")
        digits = lab.measure(vae, *lab.first(dataset.x_test, dataset.y_test))
        radius = np.hypot(*lab.codes(vae, dataset.x_test).T)
        held = posteriors.held_by_q(digits)
        parts = own_q.split_gap(decoder, digits, own_q.best_own_q(decoder, digits))
        trained_on = lab.new_encoder(decoder, dataset.x_train, one_encoder, seed, start=encoder)
        wide = lab.new_encoder(decoder, dataset.x_train, one_encoder, seed, encoder_units=lab.few(1024, 300))
        information, apart = betas.kl_in_two(vae, dataset.x_test)
        trained = gradients.draws_of(vae, digits.x)
        untrained = gradients.draws_of(gradients.untrained_vae(seed + 1), digits.x)
        several = directions.count_islands(digits) > 1

        def gap_with(other, digits=digits, decoder=decoder):
            return mean(digits.log_p - lab.elbo_of(decoder, digits.x, *lab.encode(other, digits.x))[0])

        yield {
            "seed": seed,
            "classes": lab.classes_from_codes(vae, dataset),
            "within": [float(np.mean(radius < sigma)) for sigma in (1, 2, 3)],
            "kl": mean(lab.kl_of(*lab.encode(vae, dataset.x_test))),
            "information": information,
            "apart": apart,
            "gap": mean(digits.gap),
            "gap_trained_on": gap_with(trained_on),
            "gap_wide": gap_with(wide),
            "gap_own_place": mean(parts["its best z_mean, the encoder's sigma"]),
            "gap_own": mean(parts["its best q"]),
            "encoders_share": float(1 - parts["its best q"].mean() / digits.gap.mean()),
            "misplaced": float(np.mean(held < 0.01)),
            "gap_of_misplaced": float(digits.gap[held < 0.01].sum() / digits.gap.sum()),
            "islands": float(several.mean()),
            "gap_of_islands": float((parts["its best q"] * several).mean()),
            "ratio": ratios(trained),
            "ratio_untrained": ratios(untrained),
        }


def beta(dataset):
    """The KL loss 0.25 to 8 times as heavy: reconstruction, KL and its two parts, ELBO and exact evidence."""
    recipe, test = lab.DEFAULT._replace(epochs=12), dataset.x_test[: lab.few(1000, 20)]
    for seed in SEEDS:
        for weight in betas.BETAS:
            model = lab.variant(beta=weight, recipe=recipe, seed=seed)
            lab.fit(model, dataset.x_train, vae_mnist.reconstruction_loss, recipe, seed)
            known = vae_mnist.evaluate_elbo(model, dataset.x_test, samples=5)
            information, apart = betas.kl_in_two(model, dataset.x_test)
            yield {
                "beta": weight,
                "seed": seed,
                "reconstruction": known["reconstruction_loss"],
                "kl": known["kl_loss"],
                "information": information,
                "apart": apart,
                "elbo": vae_mnist.evaluate_elbo(model, test, samples=10)["elbo"],
                "log_p": mean(lab.log_evidence(model.get_layer("decoder"), test)),
            }


def bugs(dataset):
    """Each bug of the first notebook's section 9, made on purpose: what is correct of it."""
    x, test = dataset.x_train[: lab.few(20_000, 300)], dataset.x_test[: lab.few(10_000, 100)]
    for seed in SEEDS:
        for name, bug in bugs_on_purpose.BUGS.items():
            model = bugs_on_purpose.train_bug(bug, x, seed)
            found = bugs_on_purpose.rate_bug(bug, model, test)
            yield {"bug": name, "seed": seed} | {key: mean(value) for key, value in found.items()}


def estimators(dataset):
    """Three epochs of training on 10,000 images with each estimator of the gradient: the held-out loss after each."""
    x, test = dataset.x_train[: lab.few(10_000, 300)], dataset.x_test[: lab.few(1000, 50)]
    for name in gradients.ESTIMATORS:
        for seed in SEEDS:
            yield {"estimator": name, "seed": seed, "losses": gradients.train_by(name, x, test, seed)}


def latents(dataset):
    """The default recipe with 2, 5, 10 and 20 latents; draws figures/latents.png from the first seed."""
    test = dataset.x_test[: lab.few(1000, 20)]
    digits = [int(np.flatnonzero(dataset.y_test == digit)[0]) for digit in range(10)]
    rows = {"image x": dataset.x_test[digits]}
    for seed in SEEDS:
        for latent_dim in (2, 5, 10, 20):
            vae, _ = lab.train_vae(dataset.x_train, lab.DEFAULT, seed, latent_dim)
            known = vae_mnist.evaluate_elbo(vae, dataset.x_test, samples=5)
            z_mean, z_log_var = lab.encode(vae, dataset.x_test)
            each = 0.5 * (z_mean**2 + np.exp(z_log_var) - z_log_var - 1).mean(axis=0)  # the KL of each latent
            if seed == 0:
                rows[f"{latent_dim} latents"] = lab.decode(vae, z_mean[digits])
            yield {
                "latents": latent_dim,
                "seed": seed,
                "loss": -known["elbo"],
                "kl_loss": known["kl_loss"],
                "log_p": mean(evidence.importance_weighted(*vae_mnist.halves(vae), test, lab.few(1000, 10))),
                "used": int((each > 0.01).sum()),
                "blur": mean(grey.grey_entropy(lab.decode(vae, z_mean[:1000]))),
            }
        if seed == 0 and not lab.SMOKE:
            figure = pictures.new_figure(8, 4.4, "More latents, sharper digits", f"{dataset.name}, held out, z_mean")
            lab.strip(figure.add_subplot(), list(rows.values()), list(rows))
            figure.savefig(ROOT / "figures" / "latents.png")


ALL = (
    starts,
    halves,
    jobs,
    pca,
    noise,
    binarised_input,
    squared_error,
    beta,
    bugs,
    no_kl,
    gap,
    default_model,
    generalisation,
)
MORE = (estimators, kl_term, maximum_likelihood, latents, samples, mixture_prior)
EXPERIMENTS = {function.__name__: function for function in (*ALL, *MORE)}


def measure(record, name, path):
    """Run one of the EXPERIMENTS."""
    start, dataset = time.perf_counter(), load(path)
    runs = list(EXPERIMENTS[name](dataset))
    if not lab.SMOKE:
        record[name] = {**devices.describe(), "dataset": dataset.name, "runs": runs}
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(__file__, __doc__, EXPERIMENTS, measure)
