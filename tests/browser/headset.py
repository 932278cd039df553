"""A headset that is only imitated, by Meta's Immersive Web Emulation Runtime (MIT)."""

from tests.server import ROOT

_IWER = (ROOT / "web" / "node_modules" / "iwer" / "build" / "iwer.min.js").read_text(encoding="utf-8")
WEAR = f"{_IWER}; window.headset = new IWER.XRDevice(IWER.metaQuest3); headset.installRuntime({{ forceInstall: true }});"
"""To be run before the page's own scripts: its `navigator.xr` then has a Quest 3."""
