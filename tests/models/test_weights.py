"""Weights by name: random ones in the publishers' own files and layouts, and every way they can be missing or wrong."""

import hashlib
import urllib.error
from dataclasses import replace

import open_clip
import pytest
import timm
import torch
import torchvision
from open_clip.model import CLIP as OpenClip
from safetensors.torch import save_file

from surgicalft.models import clip, weights
from surgicalft.models.checkpoints import CheckpointError, read_checkpoint
from surgicalft.models.networks import build
from surgicalft.models.rvt import RVT
from surgicalft.models.weights import WEIGHTS, initial_network, weight_names

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
SMALL = clip.Tower(32, 8, 64, 2, 1, 16)  # OpenAI's towers have 64 dimensions per head


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """An empty cache, and no network."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SURGICALFT_CACHE", str(folder))
    monkeypatch.delenv("SURGICALFT_DATA", raising=False)

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    return folder / "weights"


@pytest.fixture
def small_towers(monkeypatch):
    for name in ("b-16", "l-14"):
        monkeypatch.setitem(clip.TOWERS, name, SMALL)


def randomised(network):
    """Statistics other than 0 and 1, and no weight at its special initial value."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(0.5 + noise if "var" in name else (noise - 0.5) / 5)
    return network.eval()


def open_clips(quick_gelu=True, tower=SMALL):
    vision = {"image_size": tower.size, "patch_size": tower.patch, "width": tower.width}
    vision |= {"layers": tower.layers, "head_width": tower.width // tower.heads}
    text = {"context_length": 4, "vocab_size": 10, "width": 8, "heads": 1, "layers": 1}
    return randomised(OpenClip(tower.embed, vision, text, quick_gelu=quick_gelu))


def write_openai(path, model):
    """A half-precision TorchScript archive with the three numbers that OpenAI's have beside the weights."""
    for name in ("input_resolution", "context_length", "vocab_size"):
        vars(model).pop(name, None)  # open_clip has two of them as plain numbers
        model.register_buffer(name, torch.tensor(7))
    text = torch.zeros(1, 4, dtype=torch.long)
    traced = torch.jit.trace(model, (torch.rand(1, 3, SMALL.size, SMALL.size), text))
    torch.jit.save(traced.half(), path)


script = [
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


def test_random_is_a_name_of_its_own():
    first, again = initial_network("clip-vit-tiny", "random", 4, 3), build("clip-vit-tiny", 4, 3)
    assert all(map(torch.equal, first.parameters(), again.parameters()))


def test_names():
    assert weight_names("resnet50") == ("random", "imagenet-v1", "imagenet-v2", "timm-a1")
    assert weight_names("clip-vit-l-14-336-grouped") == ("random", "openai")
    assert weight_names("clip-vit-b-16-gelu") == ("random", "openai", "laion2b")
    assert weight_names("rvt-small") == ("random", "imagenet")
    assert weight_names("timm/resnet18") == weight_names("resnet26-bn") == ("random",)
    with pytest.raises(ValueError, match=r"weights of resnet50 must be one of .*not 'openai'"):
        initial_network("resnet50", "openai", 10, 0)
    with pytest.raises(ValueError, match="unknown network"):
        initial_network("resnet51", "random", 10, 0)


@pytest.fixture(scope="module")
def torchvisions():
    return randomised(torchvision.models.resnet50())


@pytest.mark.parametrize("name", ["imagenet-v1", "imagenet-v2"])
def test_torchvisions_file_gives_torchvisions_outputs(tmp_path, torchvisions, name):
    theirs = torchvisions
    version = torchvision.models.ResNet50_Weights[f"IMAGENET1K_{name[-2:].upper()}"]
    assert WEIGHTS["resnet50"][name].url == version.url
    torch.save(theirs.state_dict(), tmp_path / version.url.rsplit("/", 1)[1])
    network = initial_network("resnet50", name, 1000, 0, tmp_path).eval()
    large = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs(network.normalize(large))
        torch.testing.assert_close(network(large), expected, rtol=1e-4, atol=1e-4)


def test_timms_file_in_either_form(tmp_path):
    theirs = timm.create_model("resnet50.a1_in1k")
    url = theirs.pretrained_cfg["url"]
    source = WEIGHTS["resnet50"]["timm-a1"]
    assert url.rsplit("/", 1)[1] == source.files[0] and source.url.endswith(source.files[0])
    save_file(theirs.state_dict(), tmp_path / source.files[1])
    network = initial_network("resnet50", "timm-a1", 1000, 0, tmp_path)
    assert torch.equal(network.network.fc.weight, theirs.fc.weight)
    theirs.fc.weight.data.zero_()
    torch.save(theirs.state_dict(), tmp_path / source.files[0])
    network = initial_network("resnet50", "timm-a1", 1000, 0, tmp_path)
    assert not network.network.fc.weight.any()  # the publisher's own name comes first


def test_another_number_of_classes_gets_a_classifier_by_the_seed(tmp_path, torchvisions):
    theirs = torchvisions
    torch.save(theirs.state_dict(), tmp_path / "resnet50-0676ba61.pth")
    first, other = (initial_network("resnet50", "imagenet-v1", 17, s, tmp_path) for s in (0, 1))
    assert torch.equal(first.network.fc.weight, build("resnet50", 17, 0).network.fc.weight)
    assert not torch.equal(first.network.fc.weight, other.network.fc.weight)
    assert torch.equal(first.network.conv1.weight, theirs.conv1.weight)
    assert torch.equal(other.network.layer4[2].bn3.running_var, theirs.layer4[2].bn3.running_var)


def test_old_files_without_counts_of_batches(tmp_path, torchvisions):
    state = torchvisions.state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("batches_tracked")}
    torch.save(old, tmp_path / "resnet50-0676ba61.pth")
    network = initial_network("resnet50", "imagenet-v1", 1000, 0, tmp_path)
    assert torch.equal(network.network.bn1.running_mean, state["bn1.running_mean"])


def test_the_authors_file_of_rvt(tmp_path):
    theirs = randomised(RVT())
    torch.save({"model": theirs.state_dict()}, tmp_path / "rvt_small*.pth")
    network = initial_network("rvt-small", "imagenet", 1000, 0, tmp_path).network
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])
    assert initial_network("rvt-small", "imagenet", 4, 0, tmp_path).network.head.out_features == 4


class TestClip:
    pytestmark = script

    @pytest.mark.parametrize("name", ["clip-vit-b-16", "clip-vit-b-16-grouped"])
    def test_openais_archive_gives_open_clips_embedding(self, tmp_path, small_towers, name):
        theirs = open_clips()
        write_openai(tmp_path / "ViT-B-16.pt", theirs)
        network = initial_network(name, "openai", 5, 0, tmp_path).eval()
        images = network.normalize(torch.rand(2, 3, 32, 32))
        expected = theirs.half().float().encode_image(images)
        torch.testing.assert_close(network.network.visual(images), expected)
        assert network.network.visual.proj.dtype == torch.float32
        assert torch.equal(network.network.head.weight, build(name, 5, 0).network.head.weight)

    def test_the_archive_is_read_as_torch_reads_it(self, tmp_path):
        write_openai(tmp_path / "ViT-B-16.pt", open_clips())
        expected = torch.jit.load(tmp_path / "ViT-B-16.pt").state_dict()
        found = read_checkpoint(tmp_path / "ViT-B-16.pt")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)

    @pytest.mark.parametrize("cut", [0.5, 0.98])
    def test_a_truncated_archive(self, tmp_path, small_towers, cut):
        path = tmp_path / "ViT-B-16.pt"
        write_openai(path, open_clips())
        path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
        with pytest.raises(CheckpointError, match=r"ViT-B-16\.pt"):
            initial_network("clip-vit-b-16", "openai", 5, 0, tmp_path)

    def test_laions_file_needs_the_exact_gelu(self, tmp_path, small_towers):
        theirs = open_clips(quick_gelu=False)
        file = WEIGHTS["clip-vit-b-16"]["laion2b"].files[0]
        save_file(theirs.state_dict(), tmp_path / file)
        network = initial_network("clip-vit-b-16-gelu", "laion2b", 5, 0, tmp_path).eval()
        images = torch.rand(2, 3, 32, 32)
        torch.testing.assert_close(network.network.visual(images), theirs.encode_image(images))
        with pytest.raises(CheckpointError, match=r"exact GELU: use a clip-vit-\.\.\.-gelu"):
            initial_network("clip-vit-b-16", "laion2b", 5, 0, tmp_path)

    def test_openais_file_needs_the_quick_gelu(self, tmp_path, small_towers):
        write_openai(tmp_path / "ViT-B-16.pt", open_clips())
        with pytest.raises(CheckpointError, match=r"quick GELU: use a clip-vit-\.\.\. network"):
            initial_network("clip-vit-b-16-gelu", "openai", 5, 0, tmp_path)

    def test_a_positional_embedding_of_another_size_is_refused(self, tmp_path, small_towers):
        """open_clip would resample it without a word."""
        larger = replace(SMALL, size=64)
        torch.save(open_clips(tower=larger).state_dict(), tmp_path / "ViT-L-14.pt")
        with pytest.raises(CheckpointError, match=r"positional_embedding \(65, 64\) for \(17, 64"):
            initial_network("clip-vit-l-14", "openai", 5, 0, tmp_path)

    def test_a_file_without_a_tower(self, tmp_path, small_towers):
        torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "ViT-B-16.pt")
        with pytest.raises(CheckpointError, match=r"another architecture than VisionTransformer"):
            initial_network("clip-vit-b-16", "openai", 5, 0, tmp_path)

    def test_addresses_are_those_that_open_clip_knows(self):
        for name, theirs in (
            ("b-16", "ViT-B-16"),
            ("l-14", "ViT-L-14"),
            ("l-14-336", "ViT-L-14-336"),
        ):
            url = open_clip.get_pretrained_url(theirs, "openai")
            source = WEIGHTS[f"clip-vit-{name}"]["openai"]
            assert source.url == url and source.sha256 in url and len(source.sha256) == 64


def test_another_architecture(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet50-0676ba61.pth")
    with pytest.raises(
        CheckpointError, match=r"resnet50-0676ba61\.pth: is of another architecture"
    ):
        initial_network("resnet50", "imagenet-v1", 10, 0, tmp_path)


@pytest.mark.parametrize("name", [*WEIGHTS])
def test_absent_says_what_where_and_whence(tmp_path, cache, small_towers, name):
    for weight, source in WEIGHTS[name].items():
        with pytest.raises(FileNotFoundError) as caught:
            source.find(tmp_path)
        message = str(caught.value)
        assert source.files[0] in message and source.page in message, weight
        assert str(tmp_path) in message and str(cache) in message
        with pytest.raises(FileNotFoundError, match="no data folder"):
            source.find(None)
    assert not list(cache.iterdir())  # nothing half-written


def test_the_data_folder_comes_before_the_cache_and_its_weights_folder_first(tmp_path, cache):
    source = weights.Weights(("a.pt", "b.pt"), "page")
    (tmp_path / "weights").mkdir()
    cache.mkdir(exist_ok=True)
    places = [cache / "a.pt", tmp_path / "b.pt", tmp_path / "a.pt", tmp_path / "weights" / "b.pt"]
    for place in places:  # each is preferred to those before
        place.touch()
        assert source.find(tmp_path) == place
    assert source.find(None) == cache / "a.pt"


def test_downloads_are_checked_and_kept(tmp_path, cache, monkeypatch):
    """By torch.hub's own code, from a file on disk in place of the publisher's server."""
    published = tmp_path / "published.pt"
    published.write_bytes(b"weights")
    monkeypatch.undo()
    monkeypatch.setenv("SURGICALFT_CACHE", str(cache.parent))
    digest = hashlib.sha256(b"weights").hexdigest()
    good = weights.Weights(("a.pt",), "page", published.as_uri(), digest[:8])
    assert good.find(None).read_bytes() == b"weights"
    published.unlink()
    assert good.find(None) == cache / "a.pt"
    published.write_bytes(b"others")
    bad = weights.Weights(("b.pt",), "page", published.as_uri(), digest[:8])
    with pytest.raises(CheckpointError, match=r"b\.pt: downloaded from .*invalid hash"):
        bad.find(None)
    assert [file.name for file in cache.iterdir()] == ["a.pt"]
