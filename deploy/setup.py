"""Sets up .venv from the locks: ``python3 deploy/setup.py run|dev``. Does nothing when it is up to date.

Runs before anything is installed, so it uses the standard library alone.
"""

import ast
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"run": ["requirements.lock"], "dev": ["requirements.lock", "requirements-dev.lock"]}
# uv has names of its own for what pip reads from its configuration and environment.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}


class SetupFailed(Exception):
    """What went wrong, for the person at the terminal."""


def main(kind: str) -> int:
    """Bring .venv up to date for ``run`` or ``dev``."""
    with (ROOT / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = VENV / f".nexusflow-{kind}"
        wanted = fingerprint(kind)
        if stamp.exists() and stamp.read_text() == wanted and works(PYTHON):
            return 0
        try:
            make_venv()
            install(kind)
        except SetupFailed as failure:
            sys.stderr.write(f"setup: {failure}\n")
            return 1
        for done in ["run", kind]:
            (VENV / f".nexusflow-{done}").write_text(fingerprint(done))
    return 0


def fingerprint(kind: str) -> str:
    """Changes when .venv has to be set up again."""
    content = b"".join((ROOT / name).read_bytes() for name in [*LOCKS[kind], "pyproject.toml"])
    return hashlib.sha256(content + str(ROOT).encode()).hexdigest()


def make_venv() -> None:
    """Create .venv with an installer in it, if it is missing or broken."""
    if works(PYTHON) and (has("uv") or has("pip")):
        return
    say(f"making .venv with Python {sys.version.split()[0]}")
    shutil.rmtree(VENV, ignore_errors=True)
    if run([sys.executable, "-m", "venv", str(VENV)], quiet=True):
        return
    # Debian splits ensurepip off; any pip on this machine can fill an environment without it.
    shutil.rmtree(VENV, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet", "pip"]
    if run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], quiet=True) and run(pip, quiet=True):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    package = f"python3.{sys.version_info[1]}-venv"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {package} by apt-get, for this Python cannot make environments yet")
        apt = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        update = subprocess.run(["apt-get", "-qq", "update"], env=apt, check=False)
        install_it = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", package]
        if update.returncode == 0 and subprocess.run(install_it, env=apt, check=False).returncode == 0:
            if run([sys.executable, "-m", "venv", str(VENV)], quiet=True):
                return
            shutil.rmtree(VENV, ignore_errors=True)
    raise SetupFailed(
        "this Python has neither ensurepip nor pip, so no environment can be made. "
        f"Install them (Debian, Ubuntu: apt install {package}) and try again."
    )


def install(kind: str) -> None:
    """Install the locked packages by uv, or by pip where uv cannot be had, then the project itself."""
    locks = [part for name in LOCKS[kind] for part in ("-r", str(ROOT / name))]
    project = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    say(f"installing the locked packages ({kind})")
    uv = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--python", str(PYTHON)]
    environment = uv_environment()
    if has("uv") or install_uv():
        if run([*uv, "--require-hashes", *locks], environment) and run([*uv, *project], environment):
            return
        say("uv could not do it; trying again with pip")
    if not has("pip") and not run([str(PYTHON), "-m", "ensurepip"], quiet=True):
        raise SetupFailed("the packages could not be installed, see above.")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (run([*pip, "--require-hashes", *locks]) and run([*pip, *project])):
        raise SetupFailed("the packages could not be installed, see above. Is the package index reachable?")


def install_uv() -> bool:
    """Install uv at its locked version and hash; whether that worked."""
    wanted = locked("uv")
    if not wanted or not has("pip"):
        return False
    only_uv = VENV / "uv.txt"
    only_uv.write_text(wanted)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return run([*pip, "--require-hashes", "--no-deps", "-r", str(only_uv)])


def locked(package: str) -> str:
    """The package's lines in the lock."""
    lines, inside = [], False
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if not line.startswith((" ", "#")):
            inside = line.startswith(f"{package}==")
        if inside and not line.lstrip().startswith("#"):
            lines.append(line)
    return "\n".join(lines).rstrip("\\ ") + "\n" if lines else ""


def uv_environment() -> dict[str, str]:
    """The environment for uv: what pip is configured to use, unless uv is told something else."""
    environment = dict(os.environ)
    environment.pop("VIRTUAL_ENV", None)
    pip = shutil.which("pip3") if not has("pip") else None
    asked = [pip] if pip else [str(PYTHON), "-m", "pip"]
    listed = subprocess.run([*asked, "config", "list"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        uv_name = UV_NAMES.get(name.rpartition(".")[2].replace("_", "-"))
        if uv_name and uv_name not in os.environ:
            words = str(ast.literal_eval(value)).split()
            environment[uv_name] = (" " if uv_name == "UV_INDEX" else ",").join(words)
    if "UV_INDEX" in environment:
        # pip looks at all its indexes for the best version; every file is checked against the lock's hashes.
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return environment


def works(python: Path) -> bool:
    """Whether the environment's Python starts, is recent enough and belongs to this folder."""
    code = "import sys; print(sys.version_info >= (3, 11) and sys.prefix)"
    try:
        told = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False).stdout
    except OSError:
        return False
    return told.strip() == str(VENV)


def has(module: str) -> bool:
    """Whether the environment has the module."""
    return run([str(PYTHON), "-c", f"import {module}"], quiet=True)


def run(command: list[str], environment: "dict[str, str] | None" = None, *, quiet: bool = False) -> bool:
    """Run a command; whether it succeeded."""
    sink = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, env=environment, stdout=sink, stderr=sink, check=False).returncode == 0


def say(line: str) -> None:
    """Tell the person what is going on."""
    sys.stderr.write(f"setup: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "run"))
