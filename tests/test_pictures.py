"""The pictures: what is drawn where, read back from the matplotlib figures."""

import matplotlib.colors
import numpy as np
import pytest
from conftest import decode, encode
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

import vae_mnist
from seevae.images import data
from seevae.results import pictures


def test_scatter_draws_each_code_in_the_colour_of_its_class():
    z = np.array([[1.0, 2.0], [-0.5, 0.3], [0.1, -1.7]])
    labels = np.array([3, 7, 7])
    axes = pictures.plot_latent_scatter(z, labels, "a caption").axes[0]
    points = axes.collections[0]
    for place, label in zip(z, labels, strict=True):
        (at,) = np.flatnonzero((points.get_offsets().data == place).all(axis=1))
        expected = matplotlib.colors.to_rgb(pictures.CLASS_COLOURS[label])
        assert points.get_facecolors()[at][:3] == pytest.approx(expected)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z1", "z2")
    assert axes.get_aspect() == 1
    assert axes.get_xlim() == axes.get_ylim()


def test_scatter_labels_each_class_among_its_own_points():
    rng = np.random.default_rng(0)
    centres = np.array([[2.0, 2.0], [-2.0, 1.0]])
    labels = np.repeat([4, 9], 200)
    z = centres.repeat(200, axis=0) + 0.2 * rng.standard_normal((400, 2))
    axes = pictures.plot_latent_scatter(z, labels).axes[0]
    written = {text.get_text(): np.array(text.get_position()) for text in axes.texts}
    assert np.abs(written["4"] - centres[0]).max() < 0.6
    assert np.abs(written["9"] - centres[1]).max() < 0.6
    assert "0" not in written


def test_scatter_writes_no_label_over_another():
    """Two classes with the same codes, spread over a square: each label has a place of its own, among its points."""
    z = np.random.default_rng(0).uniform(-1, 1, (4000, 2))
    labels = np.arange(4000) % 2
    places = pictures.label_positions(z, labels, bins=40, apart=2)
    cell = 2 / 40
    assert np.abs(places[0] - places[1]).max() > 2 * cell
    alone = pictures.label_positions(np.zeros((4, 2)), np.array([0, 0, 1, 1]))
    assert [alone[digit].tolist() for digit in (0, 1)] == [[0, 0], [0, 0]], "nowhere else to go"


def test_scatter_draws_the_prior_behind_the_points():
    axes = pictures.plot_latent_scatter(np.zeros((2, 2)), np.array([0, 1])).axes[0]
    circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
    assert [(circle.center, circle.radius) for circle in circles] == [((0, 0), radius) for radius in (1, 2, 3)]
    assert all(circle.get_zorder() < axes.collections[0].get_zorder() for circle in circles)


def test_scatter_marks_the_square_that_the_manifold_covers():
    """From the 5 % to the 95 % quantile of N(0, 1) on each axis."""
    axes = pictures.plot_latent_scatter(np.zeros((2, 2)), np.array([0, 1])).axes[0]
    (square,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert square.get_bbox().extents == pytest.approx([-1.6448536, -1.6448536, 1.6448536, 1.6448536])
    assert "manifold" in [text.get_text() for text in axes.texts]


def test_classes_are_shown_by_their_names(trained, sample):
    vae, _ = trained
    figures = pictures.draw(*vae_mnist.halves(vae), sample._replace(name="clothes", classes=data.GARMENTS))
    assert set(data.GARMENTS) <= {text.get_text() for text in figures["latent_scatter.png"].axes[0].texts}
    assert not any("digit" in figure.get_suptitle() for figure in figures.values())
    assert all("digit" in figure.get_suptitle() for figure in pictures.draw(*vae_mnist.halves(vae), sample).values())


def test_every_plot_draws_into_axes_that_it_is_given(trained):
    images, z_values = np.zeros((4, 784)), np.array([-1.0, 1.0])
    plots = {
        pictures.plot_latent_scatter: (np.zeros((4, 2)), np.arange(4)),
        pictures.plot_manifold: (images, z_values),
        pictures.plot_reconstructions: (images, images, [images]),
        pictures.plot_prior_samples: (images,),
        pictures.plot_training_curves: (trained[1],),
    }
    for plot, arguments in plots.items():
        figure = Figure()
        axes = figure.subplots(1, 3)
        given = axes if plot is pictures.plot_training_curves else axes[1]
        assert plot(*arguments, axes=given) is figure, plot.__name__
        assert len(figure.axes) == 3, plot.__name__
        assert axes[1].has_data(), plot.__name__


def lab(linear_rgb):
    """CIE L*a*b* (white D65) of linear RGB (..., 3)."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear_rgb @ to_xyz.T / (to_xyz @ np.ones(3))
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


# Linear RGB as a dichromat sees it: Vienot, Brettel & Mollon, "Digital video colourmaps" (1999).
SEEN_BY = {
    "normal": np.eye(3),
    "protanope": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranope": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("eye", SEEN_BY)
def test_class_colours_stay_apart_for_colour_blind_readers(eye):
    """One unit of CIE76 is about a difference that one just notices."""
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in pictures.CLASS_COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    colours = lab(np.clip(linear @ SEEN_BY[eye].T, 0, 1))
    distance = np.linalg.norm(colours[:, None] - colours, axis=-1)
    assert distance[~np.eye(10, dtype=bool)].min() > (47 if eye == "normal" else 29)
    assert min(distance[a, b] for group in ((3, 5, 8), (4, 7, 9)) for a in group for b in group if a < b) > 31


def test_no_two_classes_have_the_same_colour():
    assert len({*pictures.COLOURS}) == len(pictures.COLOURS) == 62, "EMNIST has so many"


def test_prior_quantiles_are_those_of_a_standard_normal():
    z = pictures.prior_quantiles(19)
    assert z[[0, 9, 18]] == pytest.approx([-1.6448536, 0, 1.6448536], abs=1e-6)
    assert z[14] == pytest.approx(0.6744898, abs=1e-6)  # 0.75


def test_manifold_runs_right_with_z1_and_up_with_z2():
    z_values = np.array([-1.0, 0.0, 2.0])
    codes = pictures.manifold_codes(z_values)
    images = np.repeat(codes @ [[1.0], [10.0]], 784, axis=1)  # the "decoder": each pixel is z1 + 10 z2
    axes = pictures.plot_manifold(images, z_values).axes[0]
    picture = axes.images[0]
    assert picture.get_extent() == [0, 3, 0, 3]
    assert picture.origin == "upper"
    tiles = picture.get_array()[::28, ::28]
    assert tiles[0].tolist() == [-1 + 20, 0 + 20, 2 + 20], "the top row has the largest z2, z1 rising"
    assert tiles[:, 0].tolist() == [-1 + 20, -1 + 0, -1 - 10], "the left column has the smallest z1, z2 falling"


def test_manifold_ticks_stand_at_their_z():
    z_values = pictures.prior_quantiles(19)
    axes = pictures.plot_manifold(np.zeros((19 * 19, 784)), z_values).axes[0]
    assert (axes.get_xlabel()[:3], axes.get_ylabel()) == ("z1 ", "z2")
    for axis in (axes.xaxis, axes.yaxis):
        places = dict(zip([t.get_text() for t in axis.get_ticklabels()], axis.get_ticklocs(), strict=True))
        assert places["0"] == pytest.approx(9.5), "z = 0 is the middle of the middle tile"
        assert places["1"] == pytest.approx(np.interp(1, z_values, np.arange(19) + 0.5))
        assert places["1"] + places["\N{MINUS SIGN}1"] == pytest.approx(19)


def test_tile_keeps_images_upright_and_in_order():
    images = np.arange(6 * 784).reshape(2, 3, 784)
    picture = pictures.tile(images)
    assert picture.shape == (56, 84)
    np.testing.assert_array_equal(picture[28:56, 56:84], images[1, 2].reshape(28, 28))


def test_training_curves_draw_the_history(trained):
    _, history = trained
    figure = pictures.plot_training_curves(history)
    for axes, name in zip(figure.axes, ("loss", "reconstruction_loss", "kl_loss"), strict=True):
        lines = {line.get_label(): line.get_data() for line in axes.lines}
        np.testing.assert_array_equal(lines["train"], ([1, 2], history[name]))
        np.testing.assert_array_equal(lines["held out"], ([1, 2], history["val_" + name]))
        assert axes.get_ylabel() == "nats per image"


def test_pictures_show_the_model_and_the_data(trained, sample):
    vae, _ = trained
    figures = pictures.draw(*vae_mnist.halves(vae), sample, origin="trained on this")
    assert sorted(figures) == ["latent_scatter.png", "manifold.png", "prior_samples.png", "reconstructions.png"]
    captions = {name: figure._supxlabel.get_text() for name, figure in figures.items()}
    assert captions["manifold.png"] == captions["prior_samples.png"] == "trained on this"
    held_out = "MNIST sample, 5,000 images, 1,000 held out"
    assert captions["latent_scatter.png"] == captions["reconstructions.png"] == held_out

    rows = figures["reconstructions.png"].axes[0].images[0].get_array()
    digits = [np.flatnonzero(sample.y_test == digit)[0] for digit in range(10)]
    z_mean, _ = encode(vae, sample.x_test[digits])
    decoded = decode(vae, z_mean)
    for i, digit in enumerate(digits):
        column = slice(28 * i, 28 * i + 28)
        np.testing.assert_array_equal(rows[:28, column], sample.x_test[digit].reshape(28, 28))
        np.testing.assert_allclose(rows[28:56, column], decoded[i].reshape(28, 28), atol=1e-5)

    offsets = figures["latent_scatter.png"].axes[0].collections[0].get_offsets().data
    z_mean = encode(vae, sample.x_test)[0]
    np.testing.assert_allclose(np.sort(offsets, axis=0), np.sort(z_mean, axis=0), atol=1e-5)

    manifold = figures["manifold.png"].axes[0].images[0].get_array()
    z = pictures.prior_quantiles()
    corner = decode(vae, [[z[-1], z[0]]])[0].reshape(28, 28)
    np.testing.assert_allclose(manifold[-28:, -28:], corner, atol=1e-5)


def test_pictures_of_other_latent_sizes_leave_out_what_needs_two(sample):
    figures = pictures.draw(*vae_mnist.halves(vae_mnist.build_vae(latent_dim=3, hidden_dim=8)), sample)
    assert sorted(figures) == ["prior_samples.png", "reconstructions.png"]


def test_pictures_of_a_set_that_lacks_classes(trained, sample):
    few = sample._replace(x_test=sample.x_test[:3], y_test=sample.y_test[:3])
    figures = pictures.draw(*vae_mnist.halves(trained[0]), few)
    assert figures["reconstructions.png"].axes[0].images[0].get_array().shape == (5 * 28, 3 * 28)


def test_sets_of_many_classes_or_of_none_are_drawn(trained, sample):
    names = tuple(f"class {number}" for number in range(47))
    many = sample._replace(y_test=np.arange(1000) % 47, classes=names)
    figures = pictures.draw(*vae_mnist.halves(trained[0]), many)
    assert set(names) <= {text.get_text() for text in figures["latent_scatter.png"].axes[0].texts}
    assert len(set(pictures.COLOURS)) == 62
    assert pictures.COLOURS[:10] == pictures.CLASS_COLOURS
    shown = figures["reconstructions.png"].axes[0].images[0].get_array()[:28]
    columns = [int(np.flatnonzero((many.x_test == image).all(axis=1))[0]) for image in columns_of(shown)]
    assert [many.y_test[column] for column in columns] == [0, 4, 8, 13, 17, 21, 25, 29, 33, 38, 42, 46]

    none = sample._replace(y_test=np.zeros(1000, "int64"), classes=())
    figures = pictures.draw(*vae_mnist.halves(trained[0]), none)
    scatter = figures["latent_scatter.png"].axes[0]
    assert len(np.unique(scatter.collections[0].get_facecolors(), axis=0)) == 1
    assert {text.get_text() for text in scatter.texts} == {"1σ", "2σ", "3σ", "manifold"}
    shown = figures["reconstructions.png"].axes[0].images[0].get_array()[:28]
    np.testing.assert_array_equal(columns_of(shown), sample.x_test[:12])


def columns_of(row):
    """The images (n, 784) in a row of them (28, 28 n)."""
    return row.reshape(28, -1, 28).swapaxes(0, 1).reshape(-1, 784)


def test_tiles_may_have_any_size_and_colour():
    images = np.random.default_rng(0).uniform(size=(4, 5, 6, 3))
    picture = pictures.plot_prior_samples(images).axes[0].images[0].get_array()
    np.testing.assert_array_equal(picture[5:, 6:], images[3])
