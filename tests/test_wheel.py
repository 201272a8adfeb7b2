"""The package, as `pip install` gives it: built, installed outside the clone, imported and run."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import keras
import pytest
from packaging.requirements import Requirement
from processes import CACHE, NO_NETWORK, ROOT

import seevae

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KEPT = {"pyproject.toml", "README.md", "LICENSE", "vae_mnist.py", "seevae"}  # of the clone, to build it of
OPTIONS = "--data sample --epochs 1 --hidden-dim 8 --evidence-images 5"
NOT_INSTALLED = {".pyc", ".c", ".wat", ".json"}  # caches, and what parts of the page are made of or checked by
BACKENDS = ("tensorflow", "jax", "torch")


def requirements(lines):
    """{package: its bounds} of the lines of a requirements file, or of a list in pyproject.toml, but for backends."""
    found = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    return {one.name: one.specifier for one in found if one.name not in (*BACKENDS, "seevae")}


LINES = (ROOT / "requirements.txt").read_text().splitlines()


def test_package_asks_for_what_the_requirements_name():
    """The backends' bounds the requirements choose by platform; each extra brings one of them."""
    extras = PROJECT["optional-dependencies"]
    assert requirements(PROJECT["dependencies"] + extras["keras"]) == requirements(LINES)
    assert {*extras} == {"keras", *BACKENDS}
    for backend in BACKENDS:
        assert [Requirement(line).name for line in extras[backend]] == ["seevae", backend]
        assert extras[backend][0] == "seevae[keras]"


@pytest.mark.parametrize("system", [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")])
@pytest.mark.parametrize("python", ["3.11", "3.13", "3.14"])
def test_one_backend_is_asked_for_once(system, python):
    """TensorFlow where it is released; an Intel Mac gets its own JAX."""
    for machine, expected in ((system, "jax" if python == "3.14" else "tensorflow"), (("darwin", "x86_64"), "jax")):
        named = {"sys_platform": machine[0], "platform_machine": machine[1]}
        named |= {"python_version": python, "python_full_version": f"{python}.0"}
        asked = [Requirement(line) for line in LINES if line and line[0] != "#"]
        names = [one.name for one in asked if one.marker is None or one.marker.evaluate(named)]
        assert [name for name in names if name in BACKENDS] == [expected]


class Environment:
    """A new environment, in which the packages that the tests have are found too. There is no network in it."""

    def __init__(self, folder):
        self.folder = folder
        self.run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "those_of_the_tests.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))

    def run(self, program, *arguments, status=0):
        """What a program of the environment, or any other, prints on stdout and stderr."""
        program = self.folder / "venv" / "bin" / program if isinstance(program, str) else program
        environment = os.environ | NO_NETWORK | CACHE | {"HOME": str(self.folder), "PIP_NO_INDEX": "1"}
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)
        command = [str(word) for word in (program, *arguments)]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=1800)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel and the environment in which it is installed: (its path, the Environment)."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(
        ROOT, folder / "source", ignore=lambda place, names: {*names} - KEPT if Path(place) == ROOT else ()
    )
    environment = Environment(folder)
    environment.run("python", "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, source)
    (path,) = folder.glob("*.whl")
    shutil.rmtree(source)
    backend = keras.backend.backend()
    environment.run(
        "python", "-m", "pip", "install", f"{path}[{backend}]"
    )  # it asks for all that it needs, and finds it
    return path, environment


@pytest.mark.slow
def test_wheel_holds_the_script_the_rooms_and_the_page(wheel):
    """And no tests, nor anything else of the clone."""
    path, _ = wheel
    files = [file.relative_to(ROOT) for file in (ROOT / "seevae").rglob("*") if file.is_file()]
    wanted = {"vae_mnist.py", *(str(file) for file in files if file.suffix not in NOT_INSTALLED)}
    with zipfile.ZipFile(path) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        said = email.message_from_bytes(archive.read(metadata))
    assert held == wanted
    assert (said["Name"], said["Version"]) == ("seevae", seevae.__version__)
    base = [need for need in said.get_all("Requires-Dist") if "extra ==" not in need]
    assert {re.match(r"[\w-]+", need)[0] for need in base} == {"numpy", "matplotlib", "pillow"}, "no backend"


@pytest.mark.slow
def test_installed_package_is_imported_and_runs_outside_the_clone(wheel):
    _, environment = wheel
    assert environment.run("vae-mnist", "--version").startswith("vae_mnist ")
    assert "--epochs" in environment.run("vae-mnist", "--epochs", "0", status=2)
    printed = environment.run("vae-mnist", *OPTIONS.split())
    assert "Held-out ELBO" in printed
    written = environment.folder / "figures" / "sample"
    record = json.loads((written / "metrics.json").read_text())
    assert (record["epochs"], record["settings"]["hidden_dim"]) == (1, 8)
    assert "<script" in (written / "explorer.html").read_text()
    program = (
        "import seevae, vae_mnist; print(seevae.__file__, vae_mnist.__file__, seevae.load_data('sample').name, sep=';')"
    )
    program += f"; print(vae_mnist.load_vae({str(written / 'vae.keras')!r}).count_params())"
    places, parameters = environment.run("python", "-c", program).splitlines()
    *places, name = places.split(";")
    assert all(Path(place).is_relative_to(environment.folder / "venv") for place in places)
    assert "sample" in name
    assert int(parameters) == (784 * 8 + 8) + 2 * (8 * 2 + 2) + (2 * 8 + 8) + (8 * 784 + 784)
