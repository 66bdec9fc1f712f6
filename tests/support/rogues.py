"""Programs that are exported as they should be and misbehave when they run, each in one way.

They take pictures of 8 x 8 pixels as `image` and answer two logits, like those of `tests.support.programs`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch

#: Elements of a tensor of 100 GB, and of one whose sum takes hours though it holds a single number.
HUGE, ENDLESS = 25_000_000_000, 1 << 46


def logits(image: torch.Tensor) -> torch.Tensor:
    return (image.mean((2, 3))[:, :2] - 0.5) * 8


class Rogues:
    """Bytes of `.pt2` files, each exported when it is first asked for."""

    @cached_property
    def honest(self) -> bytes:
        return exported(lambda self, image: logits(image))

    @cached_property
    def hungry(self) -> bytes:
        """Asks for 100 GB."""
        return exported(lambda self, image: logits(image) + image.new_zeros(HUGE)[0])

    @cached_property
    def endless(self) -> bytes:
        """Adds up a number so often that it takes hours."""
        return exported(lambda self, image: logits(image) + image[0, 0, 0, 0].expand(ENDLESS).sum())

    @cached_property
    def looping(self) -> bytes:
        """Turns in a loop until a number is large that never grows."""
        from torch._higher_order_ops import while_loop

        def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
            one = image.mean() * 0
            (turned,) = while_loop(lambda x: x < 1, lambda x: (x * 1,), (one,))
            return logits(image) + turned

        return exported(forward)

    @cached_property
    def raising(self) -> bytes:
        """Looks up a place that a small table does not have."""
        return exported(lambda self, image: logits(image) + torch.arange(3.0)[(image.mean() * 0 + 99).long()])

    @cached_property
    def counting(self) -> bytes:
        """Counts in a buffer how often it was asked, and says so."""

        def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
            self.times.add_(1)
            return logits(image) + self.times

        return exported(forward, counted=True)

    @cached_property
    def drawing(self) -> bytes:
        """Draws random numbers."""
        return exported(lambda self, image: logits(image) + torch.rand_like(image[:, :2, 0, 0]))

    @cached_property
    def normalising(self) -> bytes:
        """Takes mean and deviation of the whole batch, as normalisation does outside evaluation mode."""

        def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.batch_norm(logits(image), None, None, training=True)

        return exported(forward)

    @cached_property
    def sharing(self) -> bytes:
        """Shares one out among the frames of a batch: a softmax over the wrong axis."""
        return exported(lambda self, image: logits(image).softmax(0))

    @cached_property
    def placed(self) -> bytes:
        """Answers by the place that a frame has in its batch."""
        return exported(lambda self, image: logits(image) * torch.arange(image.shape[0])[:, None])

    @cached_property
    def rounding(self) -> bytes:
        """Rounds its answers in steps that hang on the largest of the batch, as quantisers of eight bits do that take
        their range from what they are given.
        """

        def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
            answers = logits(image)
            step = answers.abs().amax() / 127
            return (answers / step).round() * step

        return exported(forward)

    @cached_property
    def not_a_number(self) -> bytes:
        return exported(lambda self, image: logits(image) / (image.mean() * 0))

    @cached_property
    def doubled(self) -> bytes:
        """Answers for twice as many frames."""
        return exported(lambda self, image: torch.cat([logits(image), logits(image)]))

    @cached_property
    def of_changing_shape(self) -> bytes:
        """Two logits of each frame, and three where the first picture of a batch is red."""

        def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
            more = (image[0, 0].mean() > 0.5).long().item()
            torch._check(more >= 0)
            torch._check(more <= 1)
            return torch.cat([logits(image), image.new_zeros((image.shape[0], more))], 1)

        return exported(forward)

    @cached_property
    def writing(self) -> bytes:
        """Answers honestly, and blackens the picture afterwards."""

        def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
            answer = logits(image)
            image.mul_(0)
            return answer

        return exported(forward)

    @cached_property
    def growing(self) -> bytes:
        """`image` and `memory` in; logits and a memory that has one number more out."""
        return exported(
            lambda self, image, memory: (logits(image), torch.cat([memory, memory[:, :1]], 1)),
            image=(3, 8, 8),
            memory=(4,),
        )

    @cached_property
    def narrow(self) -> bytes:
        """`feature` of three numbers in, two logits out."""
        return exported(lambda self, feature: feature[:, :2], feature=(3,))


def exported(forward: Callable[..., Any], *, counted: bool = False, **shapes: tuple[int, ...]) -> bytes:
    """forward: of `self` and the inputs, which torch.export names after them; shapes: of one frame of each. counted: it
    has a buffer `times`.
    """
    shapes = shapes or {"image": (3, 8, 8)}
    network = type("Network", (torch.nn.Module,), {"forward": forward})()
    if counted:
        network.register_buffer("times", torch.zeros(1))
    examples = {name: torch.zeros(2, *shape) for name, shape in shapes.items()}
    dynamic = {name: {0: torch.export.Dim("batch", min=1, max=256)} for name in shapes}
    file = io.BytesIO()
    torch.export.save(torch.export.export(network, (), examples, dynamic_shapes=dynamic), file)
    return file.getvalue()
