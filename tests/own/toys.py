"""Small networks and images whose class is their colour."""

import torch
from torch import Tensor, nn

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


class Toy(nn.Module):
    """Three layers: images (n, 3, h, w) -> (n, classes); its blocks are declared."""

    def __init__(self, classes: int = 3, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 6, 1)
            self.middle = nn.Conv2d(6, 6, 1)
            self.drop = nn.Dropout(dropout)
            self.fc = nn.Linear(6, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.middle(torch.relu(self.first(images))).relu().mean((2, 3))
        return self.fc(self.drop(x))

    def block_patterns(self) -> dict[str, str]:
        return {"block 1": r"first\.", "block 2": r"middle\.", "last": r"fc\."}


def coloured(n: int, classes: int = 3, seed: int = 0, size: int = 4) -> tuple[Tensor, Tensor]:
    """Images (n, 3, size, size), uint8, brightest in the channel of their class, and labels, each as often."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    images = torch.randint(40, 160, (n, 3, size, size), generator=draw, dtype=torch.uint8)
    images[torch.arange(n), labels] += 60
    return images, labels
