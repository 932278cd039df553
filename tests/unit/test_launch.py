"""The launcher's pure parts: what it reads, what it refuses before Ray starts, and in which words."""

import errno
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from deployments.config import GraphArgs
from deployments.ops import launch, progress, serve_config
from deployments.ops.launch import LaunchError
from deployments.ops.reach import allow

ROOT = Path(__file__).parents[2]
BY_NAME = {"GaussianInference": {}, "Ingress": {"max_ongoing_requests": 700}}


def config(args: Any = None, **ingress: Any) -> dict[str, Any]:
    entries = [{"name": name, **values, **(ingress if name == "Ingress" else {})} for name, values in BY_NAME.items()]
    return {"applications": [{"name": "splatcast", "args": args, "deployments": entries}]}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment of this test's own, without what the launcher reads or sets."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    for name in ("PROFILE", "HOST", "PORT"):
        mine.pop(name, None)
    monkeypatch.setattr(os, "environ", mine)
    return monkeypatch


def test_arguments_win_over_variables_and_empty_variables_are_none(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(os, "environ", {"PROFILE": "gpu", "HOST": "", "PORT": "81"})
    options = launch._parse(["--profile", "cpu"])
    assert (options.profile, options.host, options.port) == ("cpu", None, 81)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--port", "0"], {}),
        (["--port", "65536"], {}),
        ([], {"PORT": "http"}),
        ([], {"PROFILE": "tpu"}),
        (["--profile", "tpu"], {}),
    ],
)
def test_a_wrong_argument_ends_it(arguments: list[str], environment: dict[str, str], clean: pytest.MonkeyPatch) -> None:
    clean.setattr(os, "environ", environment)
    with pytest.raises(SystemExit) as ended:
        launch._parse(arguments)
    assert ended.value.code == 2


def test_an_environment_file_is_read_as_a_shell_would(tmp_path: Path) -> None:
    path = tmp_path / "a.env"
    path.write_text("# a comment\n\nA=1\n  B=x=y\nC=\n")
    assert launch.read_environment_file(path) == {"A": "1", "B": "x=y", "C": ""}


def test_ray_gets_a_fresh_token_each_time(clean: pytest.MonkeyPatch) -> None:
    tokens = []
    for _ in range(2):
        clean.setattr(os, "environ", {})
        launch.set_environment()
        assert os.environ["RAY_AUTH_MODE"] == "token" and os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        tokens.append(os.environ["RAY_AUTH_TOKEN"])
    assert len(set(tokens)) == 2 and min(map(len, tokens)) == 64


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_the_users_own_token_stays(name: str, clean: pytest.MonkeyPatch) -> None:
    clean.setattr(os, "environ", {name: "mine"})
    launch.set_environment()
    assert {key: value for key, value in os.environ.items() if key.startswith("RAY_AUTH_TOKEN")} == {name: "mine"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", "expected a map with 'applications'"),
        ("http_options: null", "expected a map with 'applications'"),
        ("applications: {name: splatcast}", "applications: expected a list"),
        ("applications: [splatcast]", "applications: expected a list"),
        ("http_options: [8000]\napplications: [{name: a}]", "http_options: expected a map"),
        ("applications: [{name: a, args: relief}]", "applications.0.args: expected a map, got 'relief'"),
        ("applications: [{name: a, args: {engine: relief}}]", "applications.0.args.engine: expected a map, got 'relief'"),
        ("applications: [{name: a, args: {engine: {params: [1]}}}]", "applications.0.args.engine.params: expected a map"),
        ("applications: [{name: a, args: {access: open}}]", "applications.0.args.access: expected a map"),
        ("applications: [{name: a, deployments: {Ingress: 1}}]", "applications.0.deployments: expected a list of maps"),
        ("applications: [{name: a, deployments: [Ingress]}]", "applications.0.deployments: expected a list of maps"),
        (
            "applications: [{name: a, deployments: [{num_replicas: 1}]}]",
            "applications.0.deployments.0: expected a map with a 'name'",
        ),
        ("applications: [{deployments: [{name: a, ray_actor_options: 1}]}]", "ray_actor_options: expected a map"),
        ("a: [", "can't read the config"),
        ("\x00", "can't read the config"),
    ],
)
def test_what_is_no_serve_config_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as refused:
        serve_config.load_config(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_a_config_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="can't read the config"):
        serve_config.load_config(tmp_path / "none.yaml")
    assert launch.main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "splatcast: can't read the config" in capsys.readouterr().err


def test_http_options_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text in ("http_options: null\n", "http_options:\n", ""):
        path.write_text(text + "applications: [{name: a}]")
        assert serve_config.load_config(path)["http_options"] == {}


EMPTY = """
http_options:
logging_config:
proxy_location:
grpc_options:
applications:
  - name: splatcast
    import_path: deployments.graph:build_app
    route_prefix:
    runtime_env:
    args:{args}
    deployments:{deployments}
"""
EMPTY_ENTRIES = "".join(
    f"\n      - {{name: {name}, ray_actor_options: , autoscaling_config: , max_ongoing_requests: }}"
    for name in ("Ingress", "GaussianInference")
)


@pytest.mark.parametrize("args", ["", " {engine: }", " {engine: {name: relief, params: }, access: , session: , pack: , options: }"])
@pytest.mark.parametrize("deployments", ["", EMPTY_ENTRIES])
@pytest.mark.parametrize("model", [None, "da3-small"])
def test_what_is_left_empty_is_as_if_it_were_left_out(args: str, deployments: str, model: str | None, tmp_path: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    path = tmp_path / "a.yaml"
    path.write_text(EMPTY.format(args=args, deployments=deployments))
    config = serve_config.load_config(path)
    launch.check_graph(config, "cpu")
    application = config["applications"][0]
    allow(application, "my-box", None, None)
    if model:
        serve_config.use_model(application, model)
        assert application["args"]["engine"]["params"] == {"model": model}
    else:
        launch.fetch(config)
    GraphArgs.model_validate(application.get("args"))
    ServeDeploySchema.model_validate(config)


@pytest.mark.parametrize("name", sorted(launch.CONFIGS.values()))
def test_the_shipped_configs_load(name: str) -> None:
    config = serve_config.load_config(ROOT / name)
    assert config == yaml.safe_load((ROOT / name).read_text())
    serve_config.check_keys(config)
    serve_config.check_scale(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aplications: 1\napplications: [{name: a}]", "the config: 'aplications' is unknown; did you mean 'applications'?"),
        ("http_options: {prt: 1}\napplications: [{name: a}]", "http_options: 'prt' is unknown; did you mean 'port'?"),
        ("applications: [{name: a, arg: {access: {}}}]", "applications.0: 'arg' is unknown; did you mean 'args'?"),
        ("applications: [{name: a, zzz: 1}]", "applications.0: 'zzz' is unknown; valid are args, autoscaling_policy, "),
        ("applications: [{1: a}]", "applications.0: 1 is unknown; valid are "),
        (
            "applications: [{deployments: [{name: Ingress, max_ongoing_request: 1}]}]",
            "deployments.Ingress: 'max_ongoing_request' is unknown; did you mean 'max_ongoing_requests'?",
        ),
        (
            "applications: [{deployments: [{name: Ingress, autoscaling_config: {min_replica: 1}}]}]",
            "deployments.Ingress.autoscaling_config: 'min_replica' is unknown; did you mean 'min_replicas'?",
        ),
        (
            "applications: [{deployments: [{name: Ingress, ray_actor_options: {num_cpu: 1}}]}]",
            "deployments.Ingress.ray_actor_options: 'num_cpu' is unknown; did you mean 'num_cpus'?",
        ),
    ],
)
def test_a_key_that_serve_would_pass_over_is_refused(
    text: str, words: str, tmp_path: Path, clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert launch.main(["--config", str(path)]) == 2
    assert f"splatcast: {path}: {words}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (config({"engin": {}}), "args: GraphArgs: 'engin' is unknown"),
        (
            config({"batch": {"max_size": 0}}),
            "^args.batch.max_size: expected a number greater than or equal to 1, got 0$",
        ),
        (config({"engine": {"name": 3}}), "^args.engine.name: expected a valid string, got 3$"),
        (config({"options": {"colors": "x"}}), "^args.options.colors: expected 'jpeg' or 'own', got 'x'$"),
        (config({"session": {"max_views": 0}}), "^args.session: max_views: expected more than 0, got 0$"),
        *(
            (
                config({"access": {name: wrong}}),
                rf"^args\.access\.{name}: expected a list of texts \(\[\] for none\), or '\*' for any, got {got}$",
            )
            for name in ("hosts", "origins", "embed")
            for wrong, got in (("cam.example", "'cam.example'"), ([1], r"\[1\]"), (5, "5"))
        ),
        (config({"engine": {"name": "magic"}}), "magic"),
        (config({"engine": {"params": {"foo": 1}}}), "engine relief: parameter 'foo' is unknown; valid are "),
        (config("relief"), "args: "),
        (config({"max_sessions": 700}), r"max_sessions \(700\) must be below the Ingress's max_ongoing_requests \(700\)"),
        (config(max_ongoing_requests=100), r"max_sessions \(600\)"),
    ],
)
def test_a_graph_that_can_not_work_is_refused_in_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(LaunchError, match=words) as refused:
        launch.check_graph(wrong, "cpu")
    assert "\n" not in str(refused.value) and "pydantic" not in str(refused.value)


@pytest.mark.parametrize("fine", [config(), config({"max_sessions": 699}), {"applications": [{"name": "a"}]}])
def test_a_graph_with_room_beside_its_sessions_passes(fine: dict[str, Any]) -> None:
    launch.check_graph(fine, "cpu")


def test_a_busy_port_names_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=rf"127\.0\.0\.1:{port}: stop what uses it, or choose another with PORT="):
            launch.check_address("127.0.0.1", port)
    launch.check_address("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no such host", "256.1.1.1", "a..b", "1::2::3", "é" * 80])
def test_a_mistyped_host_is_not_called_busy(host: str) -> None:
    with pytest.raises(LaunchError, match="is no address and no name") as refused:
        launch.check_address(host, 8000)
    assert "PORT=" not in str(refused.value)


class _Deaf(socket.socket):
    """A socket that can't be bound, and says why."""

    why = errno.EADDRINUSE

    def bind(self, address: object) -> None:
        raise OSError(self.why, os.strerror(self.why))


@pytest.mark.parametrize(
    ("why", "port", "words"),
    [
        (errno.EADDRINUSE, 65535, "PORT=65534"),
        (errno.EADDRINUSE, 8000, "PORT=8001"),
        (errno.EACCES, 80, "only root .* PORT=8000"),
        (errno.EADDRNOTAVAIL, 8000, "not this machine's.* HOST="),
        (errno.ENOBUFS, 8000, os.strerror(errno.ENOBUFS)),
    ],
)
def test_why_it_can_not_listen_is_told_apart(why: int, port: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Deaf, "why", why)
    monkeypatch.setattr(socket, "socket", _Deaf)
    with pytest.raises(LaunchError, match=words):
        launch.check_address("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 0), ("127.0.0.1", "8000"), (["127.0.0.1"], 8000), ("127.0.0.1", 65536)])
def test_a_config_with_no_address_is_refused(host: Any, port: Any) -> None:
    with pytest.raises(LaunchError, match="expected an address as host and a port from 1 to 65535"):
        launch.check_address(host, port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
        ("::1", "http://[::1]:80/"),
        ("splat.example", "http://splat.example:80/"),
    ],
)
def test_the_address_shown_opens_in_a_browser(host: str, url: str) -> None:
    assert launch.page_url(host, 80) == url


@pytest.mark.parametrize(("prefix", "path"), [("/", "/"), ("/splat", "/splat/"), ("/a/b", "/a/b/"), (None, "/")])
def test_the_address_shown_has_the_applications_prefix(prefix: str | None, path: str) -> None:
    assert launch.page_url("127.0.0.1", 80, prefix) == f"http://127.0.0.1:80{path}"


def test_the_watcher_outlives_what_goes_wrong_and_keeps_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import serve

    def fail() -> None:
        raise RuntimeError("half up")

    ended: list[int] = []
    monkeypatch.setattr(serve, "status", fail)
    monkeypatch.setattr(os, "kill", lambda _, signal_number: ended.append(signal_number))
    watcher = progress.Watcher("http://127.0.0.1:1/", 0.4)
    watcher.start()
    watcher.join(10)
    assert ended and watcher.failure and "not ready after" in watcher.failure


PYDANTIC = """ray::deploy() (pid=1)
pydantic_core._pydantic_core.ValidationError: 1 validation error for AutoscalingConfig
  Value error, max_replicas (2) must be greater than or equal to min_replicas (5)! [type=value_error, input_value={'a': [1]}]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (PYDANTIC, "max_replicas (2) must be greater than or equal to min_replicas (5)!"),
        ("Traceback\n  File x\nValueError: engine relief: no\n", "engine relief: no"),
        ("deployments.models.errors.ModelUnavailable: no weights", "no weights"),
        ("Traceback\nKeyError: 'x'", "KeyError: 'x'"),
        ("\n", "the application could not be deployed"),
    ],
)
def test_of_a_stack_trace_the_sentence_is_said(message: str, said: str) -> None:
    assert progress.last_sentence(message) == said


def test_a_failed_start_names_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import serve

    def named(value: str, **more: Any) -> SimpleNamespace:
        return SimpleNamespace(status=SimpleNamespace(value=value), message="", **more)

    broken = named("UNHEALTHY")
    broken.message = PYDANTIC
    app = named("DEPLOY_FAILED", deployments={"Ingress": named("HEALTHY"), "SplatPacker": broken})
    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications={"splatcast": app}))
    assert progress._deployment_state() == ("failed", f"SplatPacker: {progress.last_sentence(PYDANTIC)}")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"autoscaling_config": {"min_replicas": 5, "max_replicas": 2}},
            r"deployments\.SplatPacker\.autoscaling_config: max_replicas \(2\) must be greater .* min_replicas \(5\)",
        ),
        ({"max_ongoing_requests": 0}, r"config\.applications\.0\.deployments\.0\.max_ongoing_requests: "),
    ],
)
def test_a_scale_that_serve_refuses_is_refused_before_ray_starts(entry: dict[str, Any], words: str) -> None:
    application = {"name": "a", "import_path": "deployments.graph:build_app", "deployments": [{"name": "SplatPacker", **entry}]}
    with pytest.raises(ValueError, match=words) as refused:
        serve_config.check_scale({"applications": [application]})
    assert "\n" not in str(refused.value) and "pydantic" not in str(refused.value)


def test_a_token_that_replicas_would_refuse_is_refused_before_ray_starts(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(os, "environ", {"SPLATCAST_TOKEN": "my secret"})
    with pytest.raises(LaunchError, match="SPLATCAST_TOKEN: expected at least 16") as refused:
        launch.check_token()
    assert "my secret" not in str(refused.value)
    clean.setattr(os, "environ", {"SPLATCAST_TOKEN": "0123456789abcdef"})
    assert launch.check_token() == "0123456789abcdef"


def test_the_shipped_laptop_config_answers_to_no_name_but_localhost() -> None:
    args = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())["applications"][0]["args"]
    assert GraphArgs.model_validate(args).access.hosts == ()
