"""The guide quotes the viewer's problems word for word, and has them all."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "web" / "src").rglob("*.ts")))
QUOTED = {title for line in GUIDE.splitlines() if line.startswith("|") for title in re.findall("“([^”]+)”", line)}
# A card's title: a property, the second argument of a SourceError, a value of the table of codes, or the text of <strong>.
TITLES = {
    *re.findall(r'\btitle: "([^"]+)"', SOURCES),
    *re.findall(r'\bSourceError\(\s*"\w+",\s*"([^"]+)"', SOURCES),
    *re.findall(r'\w+: "([^"]+)"', SOURCES.partition("const TITLES: ")[2].partition("};")[0]),
    *re.findall(r'\? "(The server refused something)" : "(A picture was refused)"', SOURCES)[0],
    *re.findall(r'make\("strong", "([^"]+)"\)', SOURCES),
}


def test_every_title_in_the_guide_is_one_the_viewer_shows():
    assert len(QUOTED) >= 20
    assert not QUOTED - TITLES


def test_every_title_of_the_viewer_is_in_the_guide():
    assert not TITLES - QUOTED
