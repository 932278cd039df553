"""What ``args:`` in ``serve_config.yaml`` may say: the behaviour of the graph. How many replicas there are, ``deployments:`` says.

Every section is a dataclass that its part of the code uses as it is, so a limit is named and documented once.
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from deployments.splats.codecs import CODECS, depth_heads, planes_heads
from deployments.stages.decode import FrameLimits, PhotoLimits
from deployments.stages.pack import PackSettings
from deployments.stream.admission import AdmissionLimits
from deployments.stream.errors import BadMessage
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.origins import parse_authority, parse_origin
from deployments.stream.quality import QualitySettings
from deployments.stream.room_limits import RoomLimits
from deployments.stream.session_settings import SessionLimits

ANY_BELOW = "*."
"""Begins a host that stands for every name below a domain."""


def _is_listed(value: Any) -> Any:
    if value != "*" and not (isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)):
        raise ValueError(f"expected a list of texts ([] for none), or '*' for any, got {value!r:.80}")
    return value


Listed = Annotated[tuple[str, ...] | Literal["*"], BeforeValidator(_is_listed)]


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may use the server. The token is not part of it: Serve logs and shows its config.

    Attributes:
        origins: Sites whose pages may use the server, each as ``https://host[:port]``, besides its own pages; where ``hosts`` is
            ``*``, a list is the whole list, as nothing else tells which pages are its own. ``*``: any site.
        hosts: Names by which the server may be asked for, besides IP addresses and localhost; their pages on port 80 and 443 are
            its own. ``*.example.com``: every name below, for domains where nobody else decides where names point. ``*``: any, for
            a server behind a load balancer.
        embed: Sites whose pages may show the viewer in a frame, written like ``origins``. Empty: the server's own pages only.
            ``*``: any site. The stream stays the viewer's own: they need not be in ``origins``.
        max_sessions_per_address: Sessions that an ingress replica serves for one client address. Enough for a school behind one.
    """

    origins: Listed = ()
    hosts: Listed = "*"
    embed: Listed = ()
    max_sessions_per_address: int = 100


def _access_makes_sense(settings: AccessSettings) -> AccessSettings:
    for name, sites in (("origins", settings.origins), ("embed", settings.embed)):
        for site in sites if sites != "*" else ():
            if parse_origin(site) is None:
                raise ValueError(f"{name}: expected https://host or https://host:port, or '*' for any site, got {site!r}")
    for host in settings.hosts if settings.hosts != "*" else ():
        domain = host.removeprefix(ANY_BELOW)
        # All of *.com would be anybody's.
        if (parsed := parse_authority(domain, 0)) is None or parsed[1] or (domain != host and domain.count(".") < 1):
            raise ValueError(f"hosts: expected names without a port, *.example.com, or '*' for any, got {host!r}")
    if settings.max_sessions_per_address < 1:
        raise ValueError(f"max_sessions_per_address: expected 1 or more, got {settings.max_sessions_per_address}")
    return settings


def _all_positive(section: Any) -> Any:
    for f in fields(section):
        value = getattr(section, f.name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not value > 0:
            raise ValueError(f"{f.name}: expected more than 0, got {value}")
    return section


def _target_is_positive(quality: QualitySettings) -> QualitySettings:
    if not quality.target_age_ms > 0:
        raise ValueError(f"target_age_ms: expected more than 0, got {quality.target_age_ms}")
    return quality


def _codecs_exist(limits: OptionLimits) -> OptionLimits:
    names, required, all_of_them = limits.codecs, {"packed", "points"}, {*CODECS, depth_heads.NAME, planes_heads.NAME}
    if not required <= set(names) <= all_of_them or len(set(names)) < len(names):
        raise ValueError(
            "codecs: expected packed and points ('auto' chooses between them), and any other of "
            f"{', '.join(sorted(all_of_them - required))}, each once; got {', '.join(names) or 'none'}"
        )
    return limits


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_the_valid_keys(cls, values: Any) -> Any:
        if values is None:
            return {}
        if isinstance(values, dict):
            # YAML has None for a section of which only the name is there: it is empty. No other value can be.
            values = {name: {} if value is None and cls._is_section(name) else value for name, value in values.items()}
            _refuse_unknown(cls.__name__, values, set(cls.model_fields))
            for name, info in cls.model_fields.items():
                if is_dataclass(info.annotation) and isinstance(values.get(name), dict):
                    _refuse_unknown(name, values[name], {f.name for f in fields(info.annotation)})
        return values

    @classmethod
    def _is_section(cls, name: str) -> bool:
        if name not in cls.model_fields:
            return False
        kind = cls.model_fields[name].annotation
        kind = get_origin(kind) or kind
        return is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, (dict, _Section)))


def _refuse_unknown(where: str, values: dict[str, Any], valid: set[str]) -> None:
    for name in values:
        if name not in valid:
            raise ValueError(f"{where}: {name!r} is unknown; valid are {', '.join(sorted(valid))}")


class EngineArgs(_Section):
    """Which model, and its own parameters.

    Attributes:
        name: ``relief``, ``synthetic`` or ``da3``.
        params: Keyword arguments of that engine's class.
        gpu_wait_s: With ``params.device`` on a GPU: how long the cluster may take to show one before the deployment fails. 0: wait
            forever, for clusters that start their first GPU node on demand.
        timeout_s: A batch that takes the model longer is given up, and its captures are tried once more, one by one.
    """

    name: str = "relief"
    params: dict[str, Any] = Field(default_factory=dict)
    gpu_wait_s: float = Field(default=45.0, ge=0.0)
    # The largest networks take some seconds a frame on a CPU; twice this is still within frame_timeout_s.
    timeout_s: float = Field(default=14.0, gt=0.0)


class BatchArgs(_Section):
    """Dynamic batching across sessions.

    Attributes:
        max_size: Captures in one batch.
        wait_s: How long the first capture of a batch waits for company.
    """

    max_size: int = Field(default=1, ge=1, le=64)
    wait_s: float = Field(default=0.0, ge=0.0, le=1.0)


class GraphArgs(_Section):
    """The whole of ``args:``.

    Attributes:
        engine: The model.
        batch: Batching of its inputs.
        frames: What the decoder accepts of a stream.
        photos: What it accepts of ``/api/splat``.
        options: What a client that asks for nothing gets.
        option_limits: What a client may ask for. ``codecs`` must contain ``packed`` and ``points``, between which ``auto`` chooses;
            it does not bind clients of the original protocol, which can't ask.
        session: What one session may cost.
        quality: What the quality of a stream is adapted to.
        access: Who may use the server.
        admission: What all sessions of an ingress replica together may have in the graph.
        rooms: What rooms may cost.
        pack: How splats are coded.
        max_sessions: Sessions that an ingress replica serves; must be below the Ingress's ``max_ongoing_requests``.
        frame_timeout_s: A frame that takes longer to go through the graph is given up.
    """

    engine: EngineArgs = EngineArgs()
    batch: BatchArgs = BatchArgs()
    frames: Annotated[FrameLimits, AfterValidator(_all_positive)] = FrameLimits()
    photos: Annotated[PhotoLimits, AfterValidator(_all_positive)] = PhotoLimits()
    options: FrameOptions = FrameOptions()
    option_limits: Annotated[OptionLimits, AfterValidator(_all_positive), AfterValidator(_codecs_exist)] = OptionLimits()
    session: Annotated[SessionLimits, AfterValidator(_all_positive)] = SessionLimits()
    quality: Annotated[QualitySettings, AfterValidator(_target_is_positive)] = QualitySettings()
    access: Annotated[AccessSettings, AfterValidator(_access_makes_sense)] = AccessSettings()
    admission: Annotated[AdmissionLimits, AfterValidator(_all_positive)] = AdmissionLimits()
    rooms: Annotated[RoomLimits, AfterValidator(_all_positive)] = RoomLimits()
    pack: PackSettings = PackSettings()
    max_sessions: int = Field(default=600, ge=1)
    frame_timeout_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _defaults_within_limits(self) -> "GraphArgs":
        chosen = {f.name: getattr(self.options, f.name) for f in fields(FrameOptions)}
        try:
            self.option_limits.apply(self.options, chosen)
        except BadMessage as error:
            raise ValueError(f"options: {error.reason}") from None
        return self
