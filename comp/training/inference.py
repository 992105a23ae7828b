"""A network that only predicts, compiled by OpenVINO: on a CPU it may take two thirds of torch's time."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr

import torch
from torch import Tensor, nn

from comp.training.backbone import Classifier, alike
from comp.training.halves import Cut

# For fewer pixels than these, compiling takes longer than it saves.
WORTH = 500 * 224 * 224
# In single precision, also on CPUs that are faster with fewer bits.
SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}


class _Traced(nn.Module):
    """From images as bytes (B, height, width, C) to a classifier's features, or with a ``cut`` to its early maps."""

    def __init__(self, classifier: Classifier, cut: Cut | None) -> None:
        super().__init__()
        self.classifier, self.cut = classifier, cut

    def forward(self, images: Tensor) -> Tensor:
        if self.cut is None:
            return self.classifier.features(images)
        reached: list[Tensor] = []
        last = self.classifier.backbone.get_submodule(self.cut.early[-1])
        with last.register_forward_hook(lambda _, __, activations: reached.append(activations)):
            self.classifier.features(images)
        return reached[0].permute(0, 2, 3, 1)


def compiled(classifier: Classifier, cut: Cut | None, image: Tensor) -> Callable[[Tensor], Tensor]:
    """The features of a classifier in evaluation, or the early half's maps up to a ``cut``, by OpenVINO.

    It has the weights as they are now. image: bytes (1, height, width, C) like those to come, in batches of any size.
    Raises ImportError without OpenVINO, ValueError where the features are others, and what OpenVINO raises.
    """
    # OpenVINO counts its users over the network, but not without this package.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    # It imports absl, if installed, which later closes the stream that it logged to, unless that is Python's own.
    with redirect_stderr(sys.__stderr__):
        import openvino

    network = _Traced(classifier, cut)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, image, check_trace=False)  # type: ignore[no-untyped-call]
        shape = openvino.PartialShape([-1, *image.shape[1:]])
        model = openvino.convert_model(traced, example_input=image, input=[shape])
    settings = {**SETTINGS, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def through(images: Tensor) -> Tensor:
        return torch.from_numpy(request.infer({0: images.contiguous().numpy()})[0])

    if not alike(through(image), network(image)):
        raise ValueError("its features differ from torch's")
    return through
