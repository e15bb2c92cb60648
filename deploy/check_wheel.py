"""Builds the wheel into dist/ and checks that it holds the five top-level names, their data, and nothing else."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("nexusflow", "tasks", "beat", "api")
IMPORTS = (
    "import pathlib, sys, nexusflow, tasks, beat, api, celeryconfig\n"
    "from nexusflow.embedded.procfile import text\n"
    "found = [pathlib.Path(m.__file__).resolve() for m in (nexusflow, tasks, beat, api, celeryconfig)]\n"
    "assert all(pathlib.Path(sys.argv[1]).resolve() in path.parents for path in found), found\n"
    "assert text() == open(sys.argv[2]).read(), 'the Procfile differs from the queues'\n"
)


def main() -> int:
    """0 when the wheel is right."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would pack what earlier builds left there
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(ROOT / "dist"), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    if built.returncode != 0:
        sys.stderr.write(built.stdout + built.stderr)
        return 1
    (wheel,) = (ROOT / "dist").glob("*.whl")
    problems = [*wrong_content(wheel), *wrong_imports(wheel)]
    for problem in problems:
        sys.stderr.write(f"{wheel.name}: {problem}\n")
    if not problems:
        sys.stdout.write(f"{wheel.name}: {wheel.stat().st_size // 1024} KiB, complete, nothing else in it\n")
    return 1 if problems else 0


def wrong_content(wheel: Path) -> list[str]:
    """What is missing from the wheel, and what should not be in it."""
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {"celeryconfig.py"}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    return [
        *(f"{name} is missing" for name in sorted(wanted - packed)),
        *(f"{name} should not be there" for name in sorted(packed - wanted)),
    ]


def wrong_imports(wheel: Path) -> list[str]:
    """What goes wrong when the wheel's own files are imported, away from the repository."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        command = [sys.executable, "-c", IMPORTS, folder, str(ROOT / "Procfile")]
        # The environment's own editable install is found after PYTHONPATH.
        env = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)
    return [] if done.returncode == 0 else [f"cannot be imported: {done.stderr.strip().splitlines()[-1]}"]


if __name__ == "__main__":
    sys.exit(main())
