"""Of several processes that train a space together, the first alone keeps it and clears away."""

from pathlib import Path
from typing import Any

import pytest
import torch

from small_images import QUICK, write_images
from vicinal.core.loop import Hardware
from vicinal.data.images import read_images
from vicinal.spaces import MMDVAE
from vicinal.study.images import read_image_protocol, space_for


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_touches_the_files(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, protocol = read_images(str(write_images(tmp_path / "bars"))).train, read_image_protocol(QUICK)
    fit = MMDVAE.fit

    def alone(self: MMDVAE, *given: Any, processes: int, **named: Any) -> MMDVAE:
        assert processes == 2
        return fit(self, *given, **named)

    monkeypatch.setattr(MMDVAE, "fit", alone)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    place = tmp_path / "spaces"
    space = space_for("vae", images, protocol, folder=place, hardware=Hardware(device="cpu", processes=2))
    left = sorted(path.suffix for path in place.iterdir() if path.name != ".locks")
    assert left == ([".safetensors"] if rank == 0 else [""])  # the second leaves the folder that the first writes in
    monkeypatch.setattr(MMDVAE, "fit", fit)
    assert space.key() == space_for("vae", images, protocol, hardware=Hardware(device="cpu")).key()
