"""notebooks/exercises.ipynb: blanks are said to be blanks, the answers are right, and wrong ones are told apart."""

import contextlib
import io
import re
import sys

import nbformat
import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "notebooks"))

import lab
from lab import exercises

NOTEBOOK = nbformat.read(ROOT / "notebooks" / "exercises.ipynb", as_version=4)
ANSWERS = dict(  # {number: program}
    re.findall(r"^## (\d)\. .*?```python\n(.*?)```", (ROOT / "notebooks" / "answers.md").read_text(), flags=re.M | re.S)
)


def tasks():
    """The code cells of each task: {number: [cell with blanks, ..., check]}."""
    found, number = {}, None
    for cell in NOTEBOOK.cells[2:]:
        if cell.cell_type == "markdown" and (title := re.match(r"## (\d)\. ", cell.source)):
            number = int(title[1])
        elif cell.cell_type == "code":
            found.setdefault(number, []).append(cell.source)
    return found


@pytest.fixture(scope="module")
def begun(sample):
    """The names after the first cell, of the sample's digits."""
    import keras
    from keras import layers, ops

    vae = lab.default_model()
    halves = {"encoder": vae.get_layer("encoder"), "decoder": vae.get_layer("decoder")}
    known = {"lab": lab, "keras": keras, "np": np, "layers": layers, "ops": ops, "exercises": exercises}
    return known | halves | {"vae": vae, "x": sample.x_train[:], "x_test": sample.x_test[:100]}


def said(program, names):
    """What a program prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(program, names)
    return out.getvalue().strip().splitlines()[-1:]


def test_there_are_eight_with_a_check_and_an_answer_elsewhere():
    assert [*tasks()] == [*range(1, 9)] == [*map(int, ANSWERS)]
    for number, cells in tasks().items():
        assert "..." in cells[0]
        assert "exercises.check_" in cells[-1]
        assert "..." not in ANSWERS[str(number)]


def test_what_it_shows_is_what_a_fresh_kernel_says_of_blanks():
    run = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in run] == [*range(1, len(run) + 1)]
    shown = ["".join(output["text"] for output in cell.outputs).strip() for cell in run]
    assert {*shown} == {"", exercises.BLANK}
    assert shown.count(exercises.BLANK) == 7


@pytest.mark.slow
def test_a_blank_is_said_to_be_one(begun):
    names = dict(begun)
    for number, cells in tasks().items():
        lines = said("\n".join(cells), names) if number < 8 else [exercises.BLANK]
        assert lines == [exercises.BLANK], number


@pytest.mark.slow
def test_the_answers_are_right(begun, monkeypatch):
    monkeypatch.setattr(lab, "SMOKE", False)
    names = dict(begun)
    for number, program in ANSWERS.items():
        assert said(f"{program}\n{tasks()[int(number)][-1]}", names) == ["Right."], number


NORMAL = "keras.random.normal(ops.shape(z_mean), seed=seed)"
WRONG = [  # task, what goes, what comes in its place, what is said
    (1, "ops.exp(z_log_var / 2)", "ops.exp(z_log_var)", "the standard deviation is exp(z_log_var / 2)"),
    (1, NORMAL, "(keras.random.uniform(ops.shape(z_mean), seed=seed) - 0.5) * 12**0.5", "not drawn from a Gaussian"),
    (1, "ops.shape(z_mean)", "(len(z_mean), 1)", "all latents get the same epsilon"),
    (1, "return ", "", "it gives nothing: a return is missing"),
    (2, "ops.sum(", "ops.mean(", "the mean over the 3 latents"),
    (2, ", axis=-1", "", "one number for all images"),
    (3, "784 * ", "", "the mean over the pixels"),
    (3, "(x, x_hat)\n", "(x, x_hat)[None]\n", "an array of shape (1, 50)"),
    (4, " + kl_loss(z_mean, z_log_var)", "", "the KL loss is missing"),
    (4, "ops.mean(", "ops.sum(", "the sum over the images"),
    (5, "decoder.predict(z,", "decoder.predict(z * 2,", "new is not what the decoder draws at z"),
    (5, "rng.standard_normal((100, 2))", "encoder(x_test)[0][:100]", "z are codes of images"),
    (6, ".mean(axis=0)", ".mean(axis=1)", "one number for each of the 2 latents"),
    (6, ".mean(axis=0)", ".sum(axis=0)", "sums over the images"),
    (6, ".mean(axis=0)", ".mean(axis=0)[::-1]", "have changed places"),
    (7, " * cell", "", "log_p lacks the area of a cell"),
    (7, "log_joint.max() + np", "np", "log_p lacks the largest log_joint"),
    (7, "weight.sum()\n", "weight.sum() / cell\n", "a density, for a cell of area 1"),
]


@pytest.mark.parametrize(
    ("z", "said"),
    [
        (np.random.default_rng(1).uniform(-2, 2, (100, 2)), "draw from a Gaussian, not evenly"),
        (np.random.default_rng(1).random((100, 2)), "the prior has 0 and 1"),
        (np.random.default_rng(1).standard_normal((10, 2)), "a row a code"),
    ],
)
def test_codes_that_are_not_of_the_prior_are_told_apart(z, said, begun, capsys):
    exercises.check_new(z, begun["decoder"].predict(z.astype("float32"), verbose=0), begun["vae"], begun["x_test"])
    assert said in capsys.readouterr().out


@pytest.mark.slow
def test_wrong_answers_are_told_apart(begun):
    names = dict(begun)
    for number, program in [*ANSWERS.items()][:7]:
        for right, wrong, sentence in (row[1:] for row in WRONG if row[0] == int(number)):
            assert program.count(right) == 1, right
            (line,) = said(f"{program.replace(right, wrong)}\n{tasks()[int(number)][-1]}", dict(names))
            assert line.startswith("Wrong: "), (number, line)
            assert sentence in line, (number, line)
        exec(program, names)
