"""What the notebooks use and their reader may skip: a module for each section, and three that they share.

| module | what it holds |
|---|---|
| `models` | data, and models with one part changed |
| `measures` | what is measured of models and images |
| `drawing` | numbers as text, tables, and parts of pictures |
| `network`, `autoencoders`, `causes`, `trick`, `loss`, `plane`, `bugs`, `beta` | the sections of intuition.ipynb |
| `gap`, `posteriors`, `own_q`, `gradients`, `without_kl`, `directions`, `grey` | the sections of side_notes.ipynb |

`lab.name` is each name of the three. benchmarks/claims.py trains with three seeds what the notebooks train with one.
"""

import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import vae_mnist  # noqa: E402, F401  before Keras: it keeps TensorFlow's start-up lines off the screen

# isort: split
from lab.drawing import (  # noqa: E402, F401
    BLUE,
    GREY,
    LIGHT,
    ORANGE,
    RED,
    WORDS,
    class_legend,
    difference,
    digits_of,
    draw_posterior,
    keep,
    look_up,
    mean_error,
    number,
    one_of_each,
    over_seeds,
    percent,
    plot_codes,
    plot_plane,
    recorded,
    recorded_means,
    recorded_table,
    share_error,
    show,
    significant,
    strip,
    table,
)
from lab.measures import (  # noqa: E402, F401
    AXIS,
    ONE_SIGMA,
    TWO_SIGMA,
    Digits,
    classes_from_codes,
    codes,
    decode,
    elbo_of,
    encode,
    kl_of,
    level_that_holds,
    log_evidence,
    log_gaussian,
    log_joint,
    masses,
    mean_and_variance,
    measure,
    on_own_codes,
    own_elbo,
    reconstruction,
)
from lab.models import (  # noqa: E402, F401
    AUTHOR,
    CLEAN,
    DEFAULT,
    PLAIN,
    SMOKE,
    AddWeightedKLLoss,
    compile_options,
    few,
    first,
    fit,
    gaussian_loss,
    load,
    new_encoder,
    train_autoencoder,
    train_vae,
    variant,
)

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of the many models that predict here
