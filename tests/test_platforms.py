"""The requirements on platforms that are not at hand: their markers, and the record of what they install."""

import json

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

RECORD = json.loads((ROOT / "benchmarks" / "platforms.json").read_text())["platforms"]
BACKENDS = {"tensorflow", "jax"}
MACHINES = {  # sys_platform and platform_machine, as Python names them
    "Linux, x86-64": ("linux", "x86_64"),
    "Linux, ARM": ("linux", "aarch64"),
    "macOS, Apple silicon": ("darwin", "arm64"),
    "macOS, Intel": ("darwin", "x86_64"),
    "Windows, x86-64": ("win32", "AMD64"),
    "Windows, ARM": ("win32", "ARM64"),
}


def wanted(file, machine, python):
    """The requirements of a file that hold on a machine: a list of Requirement."""
    system, processor = MACHINES[machine]
    environment = {"sys_platform": system, "platform_machine": processor, "python_version": python}
    environment["python_full_version"] = f"{python}.0"
    lines = (ROOT / file).read_text().splitlines()
    asked = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    return [one for one in asked if one.marker is None or one.marker.evaluate(environment)]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_one_backend_is_asked_for_once(machine, python):
    names = [one.name for one in wanted("requirements.txt", machine, python)]
    expected = "jax" if machine == "macOS, Intel" or python == "3.14" else "tensorflow"
    assert [name for name in names if name in BACKENDS] == [expected]
    assert len(names) == len(set(names))


def test_what_the_record_installs_is_released_and_fits_the_requirements():
    """The record is of the requirements as they are; no candidate and no nightly version is in it."""
    for machine, pythons in RECORD.items():
        for python, found in pythons.items():
            asked = []
            for file in ("requirements.txt", "requirements-dev.txt"):
                asked += wanted(file, machine, python)
                for name, version in (found[file] or {}).items():
                    assert not Version(version).is_prerelease
                    assert name != "keras-nightly"
                    fits = [one.specifier.contains(version) for one in asked if one.name == name]
                    assert all(fits), (machine, python, name, version)


def test_the_record_has_every_machine_and_says_where_nothing_can_be_installed():
    assert set(RECORD) == set(MACHINES)
    for machine, pythons in RECORD.items():
        assert [*pythons] == ["3.11", "3.12", "3.13", "3.14", "3.15"]
        for python, found in pythons.items():
            assert (found["requirements.txt"] is None) == bool(found["missing"])
            complete = machine != "Windows, ARM" and python != "3.15" and (machine, python) != ("macOS, Intel", "3.14")
            assert (found["requirements.txt"] is not None) == complete
