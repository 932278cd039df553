"""``make kubernetes``: write the RayService manifests from the config and environment that ``serve run`` uses.

``rayservice.template.yaml`` is the manifest; this puts the serve config and the environment files into it. Lines that begin with
``#gpu`` belong to the GPU variant.
"""

from importlib.metadata import version
from pathlib import Path
from string import Template

import yaml

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
CONFIGS = {"gpu": "serve_config.yaml", "cpu": "serve_config.cpu.yaml"}
ENVIRONMENT = ("serve.env", "serve.cluster.env")
SET_BY_KUBERAY = ("RAY_AUTH_MODE",)
"""``authOptions`` puts it into every pod, with the token."""
FOR_A_CLUSTER = {
    "proxy_location: HeadOnly": "proxy_location: EveryNode",
    "host: 127.0.0.1": "host: 0.0.0.0",
    "access:": 'access: { hosts: "*", max_sessions_per_address: 600 }',
}
"""Beginnings of the lines of the laptop's config that a pod needs changed → what they become there."""


def manifest(profile: str) -> str:
    """The whole manifest as text.

    Args:
        profile: ``gpu`` or ``cpu``.

    Raises:
        ValueError: A line of the laptop's config that a pod needs changed is missing.
    """
    template = (FOLDER / "rayservice.template.yaml").read_text()
    lines = [line.removeprefix("#gpu") for line in template.splitlines() if profile == "gpu" or not line.startswith("#gpu")]
    return Template("\n".join(lines) + "\n").substitute(
        profile=profile,
        config=CONFIGS[profile],
        environment="\n".join(f"  {name}: {yaml.safe_dump(value, default_style=chr(34)).strip()}" for name, value in environment()),
        serve_config=_indented(serve_config(profile), 4),
        ray_version=version("ray"),
        cpu_replicas=2 if profile == "gpu" else 1,
    )


def serve_config(profile: str) -> str:
    """The shipped config as text, comments and all, with what a pod needs changed.

    Raises:
        ValueError: See :func:`manifest`.
    """
    text = (ROOT / CONFIGS[profile]).read_text()
    if profile == "cpu":
        for ours, theirs in FOR_A_CLUSTER.items():
            line = next((line for line in text.splitlines() if line.strip().startswith(ours)), None)
            if line is None:
                raise ValueError(f"{CONFIGS[profile]}: expected a line {ours!r}, which a pod needs as {theirs!r}")
            text = text.replace(line, line[: line.index(ours)] + theirs)
    return text


def environment() -> list[tuple[str, str]]:
    """Names and values from the environment files, in order."""
    lines = [line.strip() for name in ENVIRONMENT for line in (ROOT / name).read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return [(name, value) for name, _, value in pairs if name not in SET_BY_KUBERAY]


def path(profile: str) -> Path:
    """Where the manifest is written."""
    return FOLDER / f"rayservice.{profile}.yaml"


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line if line else "" for line in text.splitlines())


if __name__ == "__main__":
    for name in CONFIGS:
        path(name).write_text(manifest(name))
