"""The page of all settings is made from the settings."""

import runpy
from pathlib import Path

from nexusflow.settings import Settings

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    made = runpy.run_path(str(ROOT / "docs/make_settings.py"))["page"]()
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == made, "run python docs/make_settings.py"


def test_every_setting_says_what_it_means() -> None:
    told = runpy.run_path(str(ROOT / "docs/make_settings.py"))["docstrings"]()
    assert [name for name in Settings.model_fields if not told.get(name)] == []
