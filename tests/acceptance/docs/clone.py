"""A clean clone: the files that git knows, and a .venv whose packages are those of the environment under test."""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.acceptance.docs.blocks import ROOT
from tests.servers.guardian import guardian

PROGRAMS = ("nexusflow", "celery", "uvicorn")


def make_clone() -> Path:
    """A folder as ``git clone`` and ``make setup`` leave it, without a download."""
    clone = guardian.folder("docs") / "nexusflow"
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # not yet deleted
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    _make_venv(clone)
    return clone


def _make_venv(clone: Path) -> None:
    """An environment of the clone's own, with its own code first and the installed packages behind it."""
    venv = clone / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "clone.pth").write_text(f"{clone}\n{sysconfig.get_path('purelib')}\n")
    for name in PROGRAMS:
        program = venv / "bin" / name
        _, _, body = (Path(sys.executable).parent / name).read_text().partition("\n")
        program.write_text(f"#!{venv}/bin/python\n{body}")
        program.chmod(0o755)
    fingerprint = runpy.run_path(str(clone / "deploy/setup.py"))["fingerprint"]
    (venv / ".nexusflow-run").write_text(fingerprint("run"))


def environment(clone: Path, *, set_up: bool = True) -> dict[str, str]:
    """A reader's variables: nothing of this project's, and its programs on the PATH once they are told to be."""
    ours = str(Path(sys.executable).parent)
    places = [place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if place != ours]
    home = clone.parent / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.pathsep.join([str(clone / ".venv/bin"), *places] if set_up else places),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
