"""Nearest class mean of the pixels: the smallest pipeline that learns something.

Each class is described by the mean of its training images, and an image belongs to the class whose
mean is nearest (Euclidean distance). `shrink` pulls every class mean toward the mean of all
images, which helps where a class has few of them.

    harness check --plugins my_pipeline.py my-pipeline
    harness run --plugins my_pipeline.py --pipeline my-pipeline
    harness compare --plugins my_pipeline.py my-pipeline hog-svm --run-missing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt

from harness.contract import Batch, Context, Split, UserError

if TYPE_CHECKING:
    import torch

FAMILY = "hand-crafted"


class NearestMean:
    def __init__(self, shrink: float) -> None:
        self.shrink = shrink

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        import torch

        if train.image_size is None:
            raise UserError("my-pipeline needs images of one size; these differ in size")
        height, width = train.image_size
        labels = torch.from_numpy(train.labels).to(context.device)
        sums = torch.zeros(train.num_classes, 3 * height * width, device=context.device)
        counts = torch.zeros(train.num_classes, device=context.device)
        for batch in train.batches(256, device=context.device):
            members = torch.nn.functional.one_hot(labels[batch.index], train.num_classes).float()
            sums += members.T @ batch.images.flatten(1).float()
            counts += members.sum(0)
        context.sum(sums)  # `batches` yields this process's share, so add the others'
        context.sum(counts)
        means = sums / counts[:, None]
        self.means = torch.lerp(means, sums.sum(0) / counts.sum(), self.shrink)

    def scores(self, batch: Batch) -> torch.Tensor:
        """Return the negative distance to each class mean: (n, classes) float32."""
        pixels = batch.images.flatten(1).float()
        return -(pixels[:, None] - self.means).norm(dim=2)

    def state(self) -> dict[str, torch.Tensor]:
        return {"means": self.means}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        self.means = state["means"]


def build(*, shrink: Annotated[float, Ge(0), Lt(1)] = 0.0) -> NearestMean:
    return NearestMean(shrink)
