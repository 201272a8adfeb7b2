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


def ciede2000(one, two):
    """The distance of colours in L*a*b* (..., 3): Sharma, Wu & Dalal (2005), whose first pairs are tested below."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(two, -1, 0)
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    near_grey = np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    a1, a2 = (1.5 - near_grey / 2) * a1, (1.5 - near_grey / 2) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1 = np.degrees(np.arctan2(b1, a1)) % 360
    between = (np.degrees(np.arctan2(b2, a2)) - h1 + 180) % 360 - 180
    hue, chroma, light = (h1 + between / 2) % 360, (c1 + c2) / 2, (l1 + l2) / 2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    t = 1 + sum(weight * np.cos(np.radians(times * hue + shift)) for weight, times, shift in waves)
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(between / 2)) / (1 + 0.015 * chroma * t)
    blue = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.sqrt(dl**2 + dc**2 + dh**2 - 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * blue * dc * dh)


@pytest.mark.parametrize(
    ("one", "two", "distance"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_distance_is_that_of_the_paper(one, two, distance):
    assert ciede2000(np.array(one, float), np.array(two, float)) == pytest.approx(distance, abs=1e-4)


# Linear RGB as a dichromat sees it: Machado, Oliveira & Fernandes (2009), severity 1.
SEEN_BY = {
    "normal": (17.3, np.eye(3)),
    "deuteranope": (
        12.6,
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ),
    "protanope": (
        11.9,
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    ),
    "tritanope": (
        13.3,
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ),
}


@pytest.mark.parametrize("eye", SEEN_BY)
def test_class_colours_stay_apart_for_colour_blind_readers(eye):
    """The numbers are those that pictures.py states; one unit is about a difference that one just notices."""
    stated, seen = SEEN_BY[eye]
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in pictures.CLASS_COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    colours = lab(np.clip(linear @ np.transpose(seen), 0, 1))
    distance = ciede2000(colours[:, None], colours)[~np.eye(10, dtype=bool)]
    assert distance.min() == pytest.approx(stated, abs=0.06)


def test_names_in_the_scatter_are_dark_enough_to_read():
    for colour in pictures.COLOURS:
        rgb = np.array(matplotlib.colors.to_rgb(pictures.ink(colour)))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (0.05 + linear @ (0.2126, 0.7152, 0.0722)) >= 4.45  # rounded to bytes


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
    assert len({*pictures.COLOURS}) == len(pictures.COLOURS) == 62, "EMNIST has so many classes"
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
