"""The notices of the packages in the viewer are shipped with it and can be reached from its page."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "deployments" / "http" / "static"
NAME = "THIRD_PARTY_LICENSES.txt"


def test_the_notices_name_every_runtime_dependency():
    text = (STATIC / NAME).read_text(encoding="utf-8")
    packages = json.loads((ROOT / "web" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    names = {path.rpartition("node_modules/")[2]: entry for path, entry in packages.items() if path and not entry.get("dev")}
    assert set(packages[""]["dependencies"]) <= set(names)
    for name, entry in names.items():
        assert f"\n{name} {entry['version']}\n" in text


def test_the_notices_have_the_texts():
    text = (STATIC / NAME).read_text(encoding="utf-8")
    for words in ("three.js authors", "WORLD LABS TECHNOLOGIES", "Permission to use, copy, modify", "Apache License"):
        assert words in text


def test_the_page_links_to_them():
    assert f'href="static/{NAME}"' in (STATIC / "index.html").read_text(encoding="utf-8")
