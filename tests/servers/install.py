"""Makes sure that the tests' servers are on this machine: ``python -m tests.servers.install``.

Where it is root on Debian or Ubuntu it installs what is missing, without letting apt start any service.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.servers.programs import find_browser, missing

BROWSER = ("chromium", "fonts-dejavu-core")
"""What the page's tests need; without it they are skipped."""
POLICY = Path("/usr/sbin/policy-rc.d")
NEW_CLUSTERS = Path("/etc/postgresql-common/createcluster.d/nexusflow-tests.conf")


def main() -> int:
    """0 when everything is there."""
    absent = missing()
    browser = () if find_browser() else BROWSER
    if (absent or browser) and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stderr.write(f"setup: installing {', '.join([*absent, *browser])} by apt-get\n")
        with services_kept_off(), no_default_cluster():
            apt("update")
            apt("install", "-y", "--no-install-recommends", *absent.values(), *browser)
        absent = missing()
    if find_browser() is None:
        sys.stderr.write("There is no Chromium on this machine: the tests of the page will be skipped.\n")
    if not absent:
        return 0
    sys.stderr.write("The tests need servers that are not on this machine:\n")
    for name, package in absent.items():
        sys.stderr.write(f"  {name:22} Debian, Ubuntu: apt install {package}\n")
    names = " ".join(package.replace("-server", "").replace("redis", "valkey") for package in absent.values())
    sys.stderr.write(f"On macOS: brew install {names}. They need not run: the tests start private ones.\n")
    return 1


def apt(*arguments: str) -> None:
    """Run apt-get without questions; what it could not do shows in what is still missing."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "-qq", *arguments], env=environment, stdin=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def services_kept_off() -> Iterator[None]:
    """Forbid packages to start services while the block lasts, then put the machine's own policy back."""
    aside = POLICY.with_suffix(".d.before-nexusflow")
    if POLICY.exists() and not aside.exists():
        POLICY.rename(aside)
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if aside.exists():
            aside.rename(POLICY)


@contextlib.contextmanager
def no_default_cluster() -> Iterator[None]:
    """Keep PostgreSQL's packages from making a database cluster of their own."""
    NEW_CLUSTERS.parent.mkdir(parents=True, exist_ok=True)
    NEW_CLUSTERS.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        NEW_CLUSTERS.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
