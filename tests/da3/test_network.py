"""Loading: nothing is computed twice, what was removed changes no bit, and every failure says what to do."""

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from deployments.models import check_engine, load_model
from deployments.models.da3 import network as da3_network
from deployments.models.da3.forward import Forward
from deployments.models.da3.model import DepthAnything3
from deployments.models.da3.registry import MODELS
from deployments.models.da3.weights import CONFIG, TENSORS, find
from deployments.models.errors import ModelUnavailable
from deployments.pipeline import DecodedCapture, Prediction
from tests.da3 import micro
from tests.da3.conftest import picture

CPU = torch.device("cpu")


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return da3_network.load(find("", str(folder)), CPU, dtype)


def pictures(count: int = 1, views: int = 1) -> Any:
    from deployments.models.da3.picture import prepare

    return np.stack([[prepare(picture(seed=10 * i + v), 140) for v in range(views)] for i in range(count)])


@pytest.mark.parametrize("name", ["micro", "micro-nested"])
@pytest.mark.parametrize("views", [1, 3])
def test_a_trimmed_network_gives_the_bits_of_the_untrimmed_one(networks: Any, checkpoints: Any, name: str, views: int) -> None:
    whole, trimmed = Forward(networks[name], CPU), Forward(loaded(checkpoints[name]), CPU)
    for k in (9, 0):
        (a,), (b,) = whole.run(pictures(views=views), k), trimmed.run(pictures(views=views), k)
        for x, y in zip(a.parts, b.parts, strict=True):
            np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a.cameras, b.cameras)
        np.testing.assert_array_equal(a.poses, b.poses)


def test_trimming_removes_what_nobody_uses(networks: Any, checkpoints: Any) -> None:
    names = set(loaded(checkpoints["micro"]).state_dict())
    gone = set(networks["micro"].state_dict()) - names
    assert gone and all("_aux" in name for name in gone)


def test_the_backbone_traces_as_one_graph(checkpoints: Any) -> None:
    net = loaded(checkpoints["micro"])
    images = torch.zeros(1, 1, 3, 98, 140)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explained = torch._dynamo.explain(lambda x: net.backbone(x, cam_token=None, export_feat_layers=[]))(images)
    assert explained.graph_break_count == 0 and explained.graph_count == 1


def test_compiling_changes_nothing_beyond_rounding(checkpoints: Any) -> None:
    plain, compiled = Forward(loaded(checkpoints["micro"]), CPU), Forward(loaded(checkpoints["micro"]), CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled.compile(heads=True, backend="aot_eager")
        (b,) = compiled.run(pictures(), 1)
    (a,) = plain.run(pictures(), 1)
    for x, y in zip(a.parts, b.parts, strict=True):
        np.testing.assert_allclose(y, x, atol=1e-5 * np.abs(x).max())


def test_what_can_not_be_compiled_runs_as_it_is(checkpoints: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(torch._dynamo.config, "suppress_errors", False)
    torch._dynamo.reset()
    plain, compiled = Forward(loaded(checkpoints["micro"]), CPU), Forward(loaded(checkpoints["micro"]), CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled.compile(heads=True, backend=broken)
        (b,) = compiled.run(pictures(), 1)
    (a,) = plain.run(pictures(), 1)
    for x, y in zip(a.parts, b.parts, strict=True):
        np.testing.assert_array_equal(x, y)


def test_what_depends_on_the_size_alone_is_made_once(checkpoints: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Forward(loaded(checkpoints["micro"]), CPU)
    forward.run(pictures(), 1)

    def again(*_: Any, **__: Any) -> Any:
        raise AssertionError("a table is made again")

    monkeypatch.setattr(da3_network, "position_grid_to_embed", again)
    monkeypatch.setattr(da3_network.DinoVisionTransformer, "interpolate_pos_encoding", again)
    monkeypatch.setattr(da3_network._Rope, "table", again)
    forward.run(pictures(2), 1)
    with pytest.raises(AssertionError, match="made again"):
        forward.run(pictures(1, 1)[:, :, :98, :126], 1)


def test_tables_beyond_the_limit_are_made_anew_and_right(checkpoints: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, bounded = Forward(loaded(checkpoints["micro"]), CPU), Forward(loaded(checkpoints["micro"]), CPU)
    (a,) = kept.run(pictures(), 1)
    monkeypatch.setattr(da3_network, "_MOST_KEPT", 1)
    for _ in range(2):
        (b,) = bounded.run(pictures(), 1)
    for x, y in zip(a.parts, b.parts, strict=True):
        np.testing.assert_array_equal(x, y)
    assert all(len(module._kept) <= 1 for module in bounded.networks[0].modules() if hasattr(module, "_kept"))


def test_a_bfloat16_backbone_with_float32_heads_stays_near(checkpoints: Any) -> None:
    net = loaded(checkpoints["micro"], torch.bfloat16)
    kinds = {name.split(".")[0]: tensor.dtype for name, tensor in net.state_dict().items()}
    assert kinds["backbone"] is torch.bfloat16 and kinds["head"] is kinds["gs_head"] is kinds["cam_dec"] is torch.float32
    (a,), (b,) = Forward(net, CPU).run(pictures(), 0), Forward(loaded(checkpoints["micro"]), CPU).run(pictures(), 0)
    np.testing.assert_allclose(a.parts[0], b.parts[0], rtol=0.02)


def test_building_takes_no_memory_for_parameters(checkpoints: Any) -> None:
    net = da3_network.build(find("", str(checkpoints["micro"])))
    real = [name for name, tensor in net.named_parameters() if not tensor.is_meta]
    # Scales of layers are made by another function; they are vectors.
    assert all("gamma" in name for name in real)
    assert not any(buffer.is_meta for buffer in net.buffers()), "no checkpoint has them: they must be real"


def test_parameters_are_the_files_own_tensors(checkpoints: Any) -> None:
    net = loaded(checkpoints["micro"])
    assert not any(tensor.is_meta for tensor in [*net.parameters(), *net.buffers()])
    assert not any(tensor.requires_grad for tensor in net.parameters())


# --- failures, one sentence each ---


def sentence(call: Any, *words: str) -> None:
    with pytest.raises((ModelUnavailable, ValueError)) as refused:
        call()
    text = str(refused.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_missing_tensors_are_named(checkpoints: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(checkpoints["micro"], tmp_path / "cut"))
    tensors = load_file(folder / TENSORS)
    del tensors["model.head.projects.0.weight"]
    tensors["model.backbone.pretrained.cls_token"] = torch.zeros(1, 1, 7)
    save_file(tensors, folder / TENSORS)
    sentence(lambda: loaded(folder), "1 missing", "head.projects.0.weight", "(1, 1, 7) for (1, 1, 48)", "micro")


def test_tensors_too_many_are_told_and_do_no_harm(checkpoints: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(checkpoints["micro"], tmp_path / "more"))
    save_file({**load_file(folder / TENSORS), "model.optimizer": torch.zeros(1)}, folder / TENSORS)
    with pytest.warns(UserWarning, match=r"1 tensors are not used \(optimizer\)"):
        loaded(folder)


def test_another_models_checkpoint_is_refused(checkpoints: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["micro-depth"], tmp_path / "small"))
    (folder / "architecture.yaml").unlink()
    (folder / CONFIG).write_text(json.dumps({"model_name": "da3-small"}))
    sentence(lambda: loaded(folder), "da3-small", "missing", "of the wrong shape", "engine.params")
    sentence(lambda: DepthAnything3(model="da3-giant", weights=str(folder)), "holds da3-small", "da3-giant")


def test_a_file_cut_short_says_so(checkpoints: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["micro"], tmp_path / "short"))
    data = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(data[: len(data) // 2])
    sentence(lambda: loaded(folder), "can't be read", "again")


def test_missing_files_are_named(checkpoints: Any, tmp_path: Path) -> None:
    sentence(lambda: find("", str(tmp_path / "nowhere")), "nowhere", "model.safetensors")
    sentence(lambda: find("", str(tmp_path)), "config.json is missing")
    folder = Path(shutil.copytree(checkpoints["micro"], tmp_path / "no-tensors"))
    (folder / TENSORS).unlink()
    sentence(lambda: find("", str(folder)), "model.safetensors is missing")
    (folder / CONFIG).write_text("{}")
    sentence(lambda: find("", str(folder)), "model_name")
    (folder / CONFIG).write_text(json.dumps({"model_name": "da4"}))
    (folder / "architecture.yaml").unlink()
    sentence(lambda: find("", str(folder)), "'da4'", "da3-small")


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"__object__": {"path": "os", "name": "system"}}, "'os'"),
        ({"__object__": {"path": "depth_anything_3.modelling", "name": "Net"}}, "modelling"),
        ({"__object__": "os.system"}, "os.system"),
        ({"__object__": {"name": "Net"}}, "None"),
        ({"net": {"heads": [{"__object__": {"path": "subprocess", "name": "Popen"}}]}}, "subprocess"),
        ({"__inherit__": "/tmp/other.yaml"}, "other.yaml"),
        ({"net": {"__inherit__": ["depth_anything_3.configs.da3-small", "../up.yaml"]}}, "up.yaml"),
        ({"net": {"depth": '${eval:"__import__(chr(111)+chr(115))"}'}}, "evaluated"),
        ({"net": [[{"${oc.env:HOME}": 1}]]}, "evaluated"),
    ],
)
def test_an_architecture_that_would_run_something_else_is_refused(
    layout: Any, words: str, checkpoints: Any, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoints["micro"], tmp_path / "program"))
    (folder / "architecture.yaml").write_text(yaml.safe_dump(layout))
    sentence(lambda: find("", str(folder)), "architecture.yaml", words)


def test_the_packages_own_layouts_are_architectures(checkpoints: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["micro"], tmp_path / "own"))
    for card in MODELS.values():
        shutil.copy(da3_network.MODEL_REGISTRY[card.config], folder / "architecture.yaml")
        assert find("", str(folder)).architecture == folder / "architecture.yaml"


def test_a_folder_with_a_name_of_its_own_is_what_the_config_says(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps({"model_name": "da3-small-finetuned"}))
    (tmp_path / TENSORS).touch()
    assert find("da3-small", str(tmp_path)).card.name == "da3-small"


def test_offline_without_a_cache_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    sentence(lambda: find("da3-small", ""), "depth-anything/DA3-SMALL", "HF_HUB_OFFLINE", "engine.params.weights")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), ["no space for 0.1 GB", "HF_HOME"]),
        (ConnectionError("no route"), ["can't be downloaded", "ConnectionError", "engine.params.weights"]),
    ],
)
def test_a_download_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, words: list[str]
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        raise LocalEntryNotFoundError("not cached") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    sentence(lambda: find("da3-small", ""), *words)
    assert "Downloading da3-small (0.1 GB)" in capsys.readouterr().err


def test_a_cached_checkpoint_is_used_without_asking_the_network(monkeypatch: pytest.MonkeyPatch, checkpoints: Any) -> None:
    import huggingface_hub

    def download(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        assert local_files_only, "the network was asked"
        return str(checkpoints["micro"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find("da3-small", "").tensors == checkpoints["micro"] / TENSORS


def test_running_out_of_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch, checkpoints: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB …")

    monkeypatch.setattr(da3_network, "_check_fit", full)
    sentence(lambda: loaded(checkpoints["micro"]), "no room for micro", "smaller")


def test_a_missing_gpu_is_a_sentence(checkpoints: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sentence(lambda: DepthAnything3(weights=str(checkpoints["micro"]), device="cuda"), "sees no GPU", "device to cpu")


def test_a_missing_package_names_the_make_target(monkeypatch: pytest.MonkeyPatch) -> None:
    from deployments.models.da3 import weights as da3_weights

    monkeypatch.setattr(da3_weights, "find_spec", lambda name: None if name == "depth_anything_3" else object())
    sentence(lambda: check_engine("da3"), "depth-anything-3", "make install-da3", "'.[da3]'")


def test_the_check_of_a_config_does_not_import_torch() -> None:
    import subprocess

    check = "from deployments.models import check_engine; check_engine('da3', {'model': 'da3-giant'})"
    code = f"import sys; {check}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- what is asked and what there is ---


def test_native_gaussians_of_a_model_without_the_head_name_those_that_have_one(checkpoints: Any) -> None:
    words = ("da3-small predicts no Gaussians", "da3-giant", "da3-nested-giant-large")
    sentence(lambda: check_engine("da3", {"model": "da3-small", "kind": "native"}), *words)
    sentence(lambda: DepthAnything3(weights=str(checkpoints["micro-depth"]), kind="native"), "micro-depth predicts no Gaussians")


def test_the_app_is_not_even_built_with_a_kind_the_model_can_not_give() -> None:
    from deployments.graph import build_app

    engine = {"name": "da3", "params": {"model": "da3-base", "kind": "native"}}
    sentence(lambda: build_app({"engine": engine}), "da3-base predicts no Gaussians")  # type: ignore[arg-type]


def test_unknown_models_kinds_and_parameters_name_the_valid_ones() -> None:
    sentence(lambda: check_engine("da3", {"model": "da3-tiny"}), "da3-tiny", "da3-small", "da3-giant")
    sentence(lambda: check_engine("da3", {"kind": "voxels"}), "points", "lifted", "voxels")
    sentence(lambda: load_model("da3", modle="da3-small"), "'modle'", "longest_px")
    sentence(lambda: load_model("da3", compile="inductor"), "auto, none, blocks or all", "'inductor'")


def test_every_card_names_its_licence_and_fits_the_package() -> None:
    for card in MODELS.values():
        layout = micro.layout_of(card.config)
        main = layout.get("anyview", layout)
        assert card.gaussian_head == ("gs_head" in main) and card.several_views == ("cam_dec" in main)
        info = card.engine()
        assert info.joins_views == card.several_views
        assert info.around_deg == (10 if card.gaussian_head else 15) and card.engine("points").around_deg == 15
        assert len(card.revision) == 40, "a commit, not a branch that moves"
        assert info.licence and bool(info.licence_note) == (info.licence == "CC-BY-NC-4.0")
        assert info.kinds == (["native", "points"] if card.gaussian_head else ["points", "lifted"])


def test_the_full_size_small_architecture_runs(tmp_path: Path) -> None:
    net = micro.make_network(micro.layout_of("da3-small"))
    parameters = sum(tensor.numel() for tensor in net.parameters())
    assert round(parameters / 1e6) == MODELS["da3-small"].parameters_m
    folder = micro.save(net, tmp_path / "small", "da3-small")
    model = DepthAnything3(weights=str(folder), device="cpu", longest_px=140, threads=1)
    assert model.info.name == "da3-small" and model.info.licence == "Apache-2.0"
    (outcome,) = model.predict([DecodedCapture((picture(),))])
    assert isinstance(outcome, Prediction) and outcome.kind == "points" and len(outcome.as_gaussians()) == 140 * 112
