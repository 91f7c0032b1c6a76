"""Where and how exactly an attempt computes, chosen from what the machine has."""

import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

_WORTH_IT = 1.3  # times as fast; below it bfloat16 only costs digits
_TRIALS = 5


@dataclass(frozen=True)
class Device:
    name: Literal["cuda", "cpu"]
    dtype: torch.dtype  # of the frozen base weights; the adapter itself stays float32

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def hardware_name(device: Device) -> str:
    """What the maker calls it; on a CPU of a system that does not tell, its architecture."""
    if device.name == "cuda":
        return str(torch.cuda.get_device_name())
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def choose_device() -> Device:
    """The first GPU (CUDA_VISIBLE_DEVICES names it), else the CPU; bfloat16 where the hardware is quicker with it.

    A CPU is measured (0.1 s), not asked: of two that both report avx512_bf16, one multiplied bfloat16 4.5 times as
    fast as float32 (AMD Zen 5), the other half as fast (Intel Xeon without amx).
    """
    if torch.cuda.is_available():
        return Device("cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32)
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001  # torch has no public word for it
        return Device("cpu", torch.float32)
    gain = _seconds_to_multiply(torch.float32) / _seconds_to_multiply(torch.bfloat16)
    return Device("cpu", torch.bfloat16 if gain >= _WORTH_IT else torch.float32)


def _seconds_to_multiply(dtype: torch.dtype) -> float:
    """The least CPU time of a few products of 512 x 1024 by 1024 x 1024 (1.1 GFLOP).

    CPU time of one thread, not the clock: on a busy machine the clock measures the neighbours.
    """
    left, right = torch.ones(512, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trials = []
    for _ in range(_TRIALS):
        began = time.thread_time()
        left @ right
        trials.append(time.thread_time() - began)
    torch.set_num_threads(threads)
    return min(trials)
