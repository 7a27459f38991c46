import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def needed(*extras):
    """Bound of each package that the base and these extras name, extras of extras included."""
    bounds = {}
    texts = [*PROJECT["dependencies"], *(t for e in extras for t in PROJECT["optional-dependencies"][e])]
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            bounds |= needed(*requirement.extras)
        else:
            bounds[canonicalize_name(requirement.name)] = requirement.specifier
    return bounds


def environment():
    """Bounds of the conda packages and of the ones from PyPI; the names are the same, in lower case."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (from_pypi,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    conda = [
        Requirement(entry) for entry in listed if isinstance(entry, str) and not entry.startswith("python=")
    ]
    return tuple(
        {canonicalize_name(requirement.name): requirement.specifier for requirement in requirements}
        for requirements in (conda, map(Requirement, from_pypi))
    )


def test_binder_and_conda_users_get_the_same_environment():
    assert (ROOT / "binder/environment.yml").read_bytes() == (ROOT / "environment.yml").read_bytes()


def test_environment_has_what_the_demo_needs_with_the_same_bounds():
    conda, pypi = environment()
    conda.pop("pip")
    assert conda | pypi == needed("demo")
    assert set(pypi) == {"iotcore"}


def test_environment_has_a_python_that_will_do():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = (entry for entry in listed if isinstance(entry, str) and entry.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(
        python.removeprefix("python=")
    )


def test_constraints_pin_every_dependency_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {
        canonicalize_name(name): version
        for name, version in (line.split("==") for line in lines if not line.startswith("#"))
    }
    bounds = needed(*PROJECT["optional-dependencies"])
    wrong = {
        name: f"{pinned.get(name, 'absent')}, wanted {bound}"
        for name, bound in bounds.items()
        if name not in pinned or not bound.contains(pinned[name])
    }
    assert wrong == {}
    assert "obslab" not in pinned


@pytest.mark.parametrize("script", [".ci/run", "binder/postBuild", "binder/start"])
def test_scripts_are_executable_and_parse(script):
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_binder_start_hands_over_to_its_command():
    done = subprocess.run([ROOT / "binder/start", "echo", "a b"], capture_output=True, text=True, check=True)
    assert done.stdout == "a b\n"


def test_repo2docker_renders_our_environment_and_scripts():
    done = subprocess.run(
        [Path(sys.executable).with_name("jupyter-repo2docker"), "--no-build", "--debug", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    dockerfile = done.stdout
    # The folder binder/ hides files of the same name in the root, which a typo in it would bring back.
    assert "COPY --chown=0:0 src/binder/environment.yml ${REPO_DIR}/binder/environment.yml" in dockerfile
    assert 'env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"' in dockerfile
    assert "RUN ./binder/postBuild" in dockerfile
    assert 'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile
    assert "Building conda environment for python=3.11" in done.stderr
