"""Where and how exactly an attempt computes, chosen from what the machine has."""

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Device:
    name: Literal["cuda", "cpu"]
    dtype: torch.dtype  # of the frozen base weights; the adapter itself stays float32

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def choose_device() -> Device:
    """The first GPU (CUDA_VISIBLE_DEVICES names it), else the CPU; bfloat16 where the hardware multiplies it.

    A CPU without that (avx512_bf16, amx) would compute bfloat16 slower than float32.
    """
    if torch.cuda.is_available():
        return Device("cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32)
    multiplies = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return Device("cpu", torch.bfloat16 if multiplies else torch.float32)
