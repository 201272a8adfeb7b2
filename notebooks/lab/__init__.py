"""What the notebooks use and their reader may skip: a module for each section, and three that they share.

| module | what it holds |
|---|---|
| `models` | data, and models with one part changed |
| `measures` | what is measured of models and images |
| `drawing` | numbers as text, tables, and parts of pictures |
| `controls` | what else does what the post claims |
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
from lab.drawing import *  # noqa: E402, F403
from lab.measures import *  # noqa: E402, F403
from lab.models import *  # noqa: E402, F403

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of the many models that predict here
