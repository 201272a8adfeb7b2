"""The page report.html: what examine found of any VAE, as one file to share, which needs no network.

`page` takes the record and what was seen of the images (examine.Seen), and decodes codes of its own: new images, and
the plane of two latents or, of more, each latent's way. All is drawn here but the plane, which a small script moves.
"""

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from seevae.results.evidence import kl_of_latents

HERE = Path(__file__).resolve().parent
VERDICTS = {  # record["verdict"]: its colour, and its words
    "wrong": ("wrong", "Something is wrong."),
    "look": ("look", "Something to look at."),
    "nothing wrong seen": ("good", "Nothing wrong was seen."),
}
READ = {  # the keys of record["read_as"], in words
    "encode": "encode gives {}",
    "inputs": "encode is given {}",
    "z_log_var": "z_log_var is {}",
    "decode": "the decoder's output is taken: {}",
    "likelihood": "the likelihood is {}",
    "sigma": "sigma is {:.3g}",
    "beta": "beta is {:g}",
}
COLUMNS = 6  # images of each kind
NEW = 40
LARGEST = 112  # pixels of a side of an image, as it is shown
SPRITE = 900  # pixels of a side of the plane's grid of images
POINTS = 3000
PANELS, MOST = 12, 200  # latents that are shown at once, and in all
WAYS, STEPS = 8, 11  # latents whose way is drawn, and its pictures


class Seen(NamedTuple):
    """What the page shows of the images."""

    x: np.ndarray  # (n, pixels) float32
    shape: tuple  # of an image
    labels: np.ndarray  # (n,) whole numbers
    names: tuple  # of the classes
    z_mean: np.ndarray  # (n, latent_dim)
    z_log_var: np.ndarray
    losses: np.ndarray  # (n,), nats, at z_mean
    decode: Callable  # z (m, latent_dim), of (m,), the images whose condition is used -> (m, pixels)
    seed: int


def page(record: dict, seen: Seen) -> str:
    """The page of a record of examine, and of what was seen of its images."""
    shown = as_bytes(seen.x[:1], seen.shape) is not None
    plane = plane_of(seen) if shown and seen.z_mean.shape[1] == 2 else None
    parts = [heading(record), numbers(record, seen), latents(record, seen)]
    if shown:
        parts += [examples(seen), plane_section(seen, plane) if plane else ways(seen), new_images(seen)]
    else:
        parts.append(f"<p>No pictures: images of shape {tuple(seen.shape)} are not image-shaped.</p>")
    body = "\n".join([*parts, details(record)])
    told = json.dumps(plane["seen"] if plane else None).replace("<", "\\u003c")
    html, script = (HERE.joinpath(name).read_text(encoding="utf-8") for name in ("report.html", "report.js"))
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()  # no other script may run
    for mark, text in {"HASH": known, "SCRIPT": script, "SEEN": told, "BODY": body}.items():
        html = html.replace("{{" + mark + "}}", text)
    return html


# -- Images ------------------------------------------------------------------------------------------------------------


def as_pictures(rows, shape):
    """Images (m, pixels) as pictures.tile takes them, (m, h, w) or (m, h, w, 3); None where they are no pictures."""
    shape = (28, 28) if tuple(shape) == (784,) else tuple(shape)
    images = rows.reshape(len(rows), *shape)
    if len(shape) == 3 and 1 in (shape[0], shape[-1]):
        return images.squeeze(1 if shape[0] == 1 else 3)
    if len(shape) == 3 and 3 in (shape[0], shape[-1]):
        return images if shape[-1] == 3 else np.moveaxis(images, 1, 3)
    return images if len(shape) == 2 else None


def as_bytes(rows, shape):
    """Images (m, pixels) as bytes (m, h, w) or (m, h, w, 3), ink as 255 - grey; None where they are no pictures."""
    images = as_pictures((255 * np.clip(rows, 0, 1)).round().astype("uint8"), shape)
    return None if images is None else shrunk(images if images.ndim == 4 else 255 - images)


def shrunk(images):
    """Images (m, h, w, ...) no larger than LARGEST on each side: means of blocks."""
    step = -(-max(images.shape[1:3]) // LARGEST)
    if step == 1:
        return images
    m, h, w, *colours = images.shape
    blocks = images[:, : h // step * step, : w // step * step].reshape(m, h // step, step, w // step, step, *colours)
    return blocks.mean(axis=(2, 4)).round().astype("uint8")


def tiled(images, columns):
    """Images (m, h, w, ...) as one picture, `columns` in a row."""
    rows = len(images) // columns
    _, h, w, *colours = images.shape
    grid = images[: rows * columns].reshape(rows, columns, h, w, *colours).swapaxes(1, 2)
    return grid.reshape(rows * h, columns * w, *colours)


def picture(image, alt, scale=1, **attributes):
    """An <img> of bytes (h, w) or (h, w, 3); grey ones turn with the page's light."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    source = base64.b64encode(file.getvalue()).decode()
    kind = f"ink {attributes.pop('kind', '')}" if image.ndim == 2 else attributes.pop("kind", "")
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    size = f'width="{scale * image.shape[1]}" height="{scale * image.shape[0]}"'
    return f'<img class="{kind.strip()}" {size} alt="{escape(alt)}"{more} src="data:image/png;base64,{source}">'


# -- Words and numbers -------------------------------------------------------------------------------------------------


def heading(record):
    """What was examined, the verdict, and its sentences."""
    kind, verdict = VERDICTS[record["verdict"]]
    said = [
        f'<li class="{one["severity"]}"><b>{one["severity"].capitalize()}</b> <span>{escape(sentence)}</span></li>'
        for one, sentence in zip(record["finding_details"], record["findings"], strict=True)
    ]
    about = f"{record['dataset']}; {record['latent_dim']} latents, {record['latents_in_use']} of them in use"
    read = [words.format(record["read_as"].get(name)) for name, words in READ.items() if record["read_as"].get(name)]
    return f"""<header><h1>A VAE, examined</h1>
<p class="soft">{escape(about)}.</p>
<p class="verdict {kind}">{verdict}</p></header>
<ul class="findings">{"".join(said)}</ul>
<p class="soft">How it was read: {escape("; ".join(read))}.</p>"""


def numbers(record, seen):
    """The table of losses and log p(x), with errors."""
    held_out, known = record["held_out"], record.get("evidence") or {}
    kl = kl_of_latents(seen.z_mean, seen.z_log_var).sum(axis=1)
    of_images, drawing = held_out["standard_error_of_images"], held_out["standard_error"]
    rows = [
        ("ELBO", f"{held_out['elbo']:.2f} ± {of_images:.2f}", "the bound on log p(x) that training raises"),
        ("Reconstruction loss", f"{held_out['reconstruction_loss']:.2f}", "what an image costs once its code is known"),
        ("KL loss", f"{held_out['kl_loss']:.2f} ± {kl.std(ddof=1) / len(kl) ** 0.5:.2f}", "what the code costs"),
    ]
    if known.get("importance_weighted") is not None:
        samples, images = known["importance_samples"], known["images"]
        error = known.get("importance_weighted_error")
        if images < record["images"]:  # the next lines are to be held against theirs
            value = f"{known['elbo']:.2f} ± {known['standard_error_of_images']:.2f}"
            rows.append((f"ELBO of the first {images:,}", value, "the images of the next lines"))
        value = f"{known['importance_weighted']:.2f}" + (f" ± {error:.2f}" if error is not None else "")
        rows.append(("log p(x), estimated", value, f"from {samples} draws of each of {images:,} images; a lower bound"))
    if known.get("exact") is not None:
        value = f"{known['exact']:.2f} ± {known['exact_error']:.2g}"
        rows.append(("log p(x), exact", value, "summed over a grid of codes; ± is the grid's error"))
        rows.append(("Gap", f"{known['gap']:.2f}", "what the ELBO leaves out"))
    line = "<tr><th scope='row'>{}</th><td>{}</td><td class='soft'>{}</td></tr>"
    lines = "".join(line.format(*row) for row in rows)
    return f"""<h2>Numbers</h2>
<table>{lines}</table>
<p class="soft">Nats per image, on {record["images"]:,} images. ± is the standard error of the choice of images;
drawing z adds {drawing:.2g}.</p>"""


def details(record):
    """What was tested, what cannot be seen, and what was left out."""
    lists = {
        "What was tested": record["tested"],
        "What cannot be seen": record["unseen"],
        "Left out": record["left_out"],
    }
    return "".join(
        f"<details><summary>{title}</summary><ul>{''.join(f'<li>{escape(word)}</li>' for word in words)}</ul></details>"
        for title, words in lists.items()
        if words
    )


# -- Latents -----------------------------------------------------------------------------------------------------------


def latents(record, seen):
    """A bar of KL for each latent, and for each its codes against N(0, 1)."""
    kl = np.array(record["kl_of_latents"])
    top = max(kl.max(), 1e-9)
    bars = "".join(
        f'<div style="height:{max(0.4, 100 * nats / top):.1f}%" title="z{i}: {nats:.3f} nats"></div>'
        for i, nats in enumerate(kl, 1)
    )
    names = "".join(f"<span>{i}</span>" for i in range(1, len(kl) + 1)) if len(kl) <= 20 else ""
    order = np.argsort(-kl, kind="stable")
    rng = np.random.default_rng(seen.seed)
    z = seen.z_mean + np.exp(seen.z_log_var / 2) * rng.standard_normal(seen.z_mean.shape, "float32")
    panels = [panel(z[:, i], i + 1, kl[i]) for i in order[:MOST]]
    more = f"The next {len(panels) - PANELS} of {len(kl)} latents"
    rest = f"<details><summary>{more}</summary>{grouped(panels[PANELS:])}</details>"
    best = f"z{order[0] + 1} has most, {kl[order[0]]:.2f} nats; z{order[-1] + 1} least, {kl[order[-1]]:.3g}"
    return f"""<h2>KL of each latent</h2>
<p class="soft">{record["latents_in_use"]} of {len(kl)} are in use; {best}.</p>
<div class="bars" role="img" aria-label="Bars: {best}">{bars}</div><div class="names" aria-hidden="true">{names}</div>
<h2>All codes together, against N(0, 1)</h2>
<p class="soft">Bars: draws of q of all images. Line: the prior, from which new images are drawn.</p>
{grouped(panels[:PANELS])}{rest if len(kl) > PANELS else ""}"""


def grouped(panels):
    return f'<div class="latents">{"".join(panels)}</div>'


def panel(z, number, nats):
    """The histogram of one latent's codes z (n,), with the density of N(0, 1) above it, as <figure>."""
    limit = float(np.clip(1.1 * np.quantile(np.abs(z), 0.99), 4, 1e6))
    heights, _ = np.histogram(np.clip(z, -limit, limit), bins=32, range=(-limit, limit), density=True)
    top = max(heights.max(), 0.4)
    rects = "".join(
        f'<rect x="{5 * i}" y="{76 - 72 * h / top:.1f}" width="4.4" height="{72 * h / top:.1f}"/>'
        for i, h in enumerate(heights)
        if h
    )
    at = np.linspace(-limit, limit, 81)
    curve = np.exp(-(at**2) / 2) / math.sqrt(2 * math.pi) / top
    line = " ".join(f"{160 * (x + limit) / (2 * limit):.1f},{76 - 72 * y:.1f}" for x, y in zip(at, curve, strict=True))
    words = f"mean {z.mean():.2f}, deviation {z.std():.2f}"
    svg = f'<svg viewBox="0 0 160 80" role="img" aria-label="z{number}: {words}">{rects}<path d="M{line}"/></svg>'
    return f"<figure>{svg}<figcaption>z{number}: {nats:.2f} nats;<br>{words}</figcaption></figure>"


# -- Pictures ----------------------------------------------------------------------------------------------------------


def examples(seen):
    """The images that come back best, in the middle and worst, each beside its reconstruction."""
    order, n = np.argsort(seen.losses, kind="stable"), len(seen.losses)
    count = min(COLUMNS, max(1, n // 3))
    middle = (n - count) // 2
    groups = {"Best": order[:count], "In the middle": order[middle : middle + count], "Worst": order[n - count :]}
    lines = []
    for name, rows in groups.items():
        pairs = zip(
            as_bytes(seen.x[rows], seen.shape), as_bytes(seen.decode(seen.z_mean[rows], rows), seen.shape), strict=True
        )
        figures = [
            f"<figure>{picture(image, 'image')}{picture(back, 'its reconstruction')}"
            f"<figcaption>{caption(seen, row)}</figcaption></figure>"
            for row, (image, back) in zip(rows, pairs, strict=True)
        ]
        lines.append(f'<h3>{name}</h3><div class="images">{"".join(figures)}</div>')
    return f"""<h2>Images and what comes back</h2>
<p class="soft">Left the image, right what the decoder draws at z_mean; below, the reconstruction loss.</p>
{"".join(lines)}"""


def caption(seen, row):
    """The class of an image, where there are classes, and its loss."""
    name = f"{escape(str(seen.names[seen.labels[row]]))}, " if len(seen.names) else ""
    return f"{name}{seen.losses[row]:.1f} nats"


def new_images(seen):
    """Codes drawn from the prior, decoded."""
    rng = np.random.default_rng(seen.seed)
    z = rng.standard_normal((NEW, seen.z_mean.shape[1])).astype("float32")
    images = as_bytes(seen.decode(z, rng.integers(0, len(seen.x), NEW)), seen.shape)
    return f"""<h2>New images</h2>
<p class="soft">z drawn from N(0, I), decoded.</p>
{picture(tiled(images, 10), f"{NEW} images that the decoder draws", 2, kind="strip")}"""


def ways(seen):
    """For each of the most used latents: the image of the middle, with this latent taken from -3 to 3."""
    kl = kl_of_latents(seen.z_mean, seen.z_log_var).mean(axis=0)
    most = np.argsort(-kl, kind="stable")[:WAYS]
    middle = int(np.argsort(seen.losses, kind="stable")[len(seen.losses) // 2])
    values = np.linspace(-3, 3, STEPS)
    figures = []
    for latent in most:
        z = np.repeat(seen.z_mean[middle : middle + 1], STEPS, axis=0)
        z[:, latent] = values
        row = tiled(as_bytes(seen.decode(z, np.full(STEPS, middle)), seen.shape), STEPS)
        alt = f"{STEPS} images with z{latent + 1} from -3 to 3"
        figures.append(f"<figure><figcaption>z{latent + 1}</figcaption>{picture(row, alt, 2, kind='strip')}</figure>")
    return f"""<h2>What each latent does</h2>
<p class="soft">From left to right one latent goes from -3 to 3; the others stay where the encoder puts one image. The
most used first.</p>
{"".join(figures)}"""


def plane_of(seen):
    """The plane of two latents: a square grid of decoded codes as one picture, and what the script needs."""
    from seevae.results.pictures import COLOURS, HELD_OUT_COLOUR  # here, not above: matplotlib takes a while

    limit = float(max(3.0, math.ceil(1.05 * np.quantile(np.abs(seen.z_mean), 0.995))))
    middle = int(np.argsort(seen.losses, kind="stable")[len(seen.losses) // 2])
    size = max(as_bytes(seen.x[:1], seen.shape).shape[1:3])
    side = int(np.clip(SPRITE // size, 11, 31))
    axis = np.linspace(-limit, limit, side)
    z1, z2 = np.meshgrid(axis, axis[::-1])  # the first row is the top
    codes = np.stack([z1.ravel(), z2.ravel()], axis=1).astype("float32")
    images = as_bytes(seen.decode(codes, np.full(len(codes), middle)), seen.shape)
    some = np.random.default_rng(seen.seed).permutation(len(seen.z_mean))[:POINTS]
    told = {"limit": limit, "side": side, "height": images.shape[1], "width": images.shape[2]}
    told |= {
        "points": seen.z_mean[some].round(3).tolist(),
        "colours": list(COLOURS[: len(seen.names)] or [HELD_OUT_COLOUR]),
    }
    told["labels"] = seen.labels[some].tolist() if len(seen.names) else [0] * len(some)
    return {"images": images, "seen": told}


def plane_section(seen, plane):
    """The plane and its controls."""
    told, images = plane["seen"], plane["images"]
    ink = "ink" if images.ndim == 3 else ""
    legend = "".join(
        f'<li><i style="background:{colour}"></i>{escape(str(name))}</li>'
        for name, colour in zip(seen.names, told["colours"], strict=False)
    )
    sliders = "".join(
        f'<label>z{i}: <output id="at{i}">0</output>'
        f'<input type="range" id="z{i}" min="{-told["limit"]}" max="{told["limit"]}" step="0.05" value="0"></label>'
        for i in (1, 2)
    )
    grid = picture(tiled(images, told["side"]), "", id="grid", hidden="")
    return f"""<h2>The plane of codes</h2>
<p class="soft">Each point is the code of an image. Move over the plane, or use the two sliders, and see what the
decoder draws there. Circles: 1, 2 and 3 standard deviations of the prior.</p>
<div class="plane"><canvas id="plane" width="1000" height="1000" role="img"
aria-label="Codes of {len(told["points"]):,} images; the sliders z1 and z2 say where the decoder draws"></canvas>
<div class="controls"><canvas id="drawn" class="{ink}" width="{told["width"]}" height="{told["height"]}"
style="--aspect:{told["width"]}/{told["height"]}" role="img" aria-label="What the decoder draws at z1, z2"></canvas>
{sliders}<label><input type="checkbox" id="under"> images on the plane</label></div></div>
<ul class="legend">{legend}</ul>{grid}"""
