"""What a child of the trainer finds in its environment: of the trainer's own, only what is named here.

A list of secrets would miss the next platform's, so the lists say what may pass; any other variable reaches the
training with `ONCETUNE_TRAINER_TRAINING_COMMAND=["env", "NAME=VALUE", …]`. Each child gets what it needs: the hub's
token, and a proxy's password, go to the training alone. It keeps secrets from what a child prints, dumps and hands on;
it is no wall against code of the same user, which may read /proc of the trainer.
"""

import os
from collections.abc import Collection
from pathlib import Path

from oncetune.tracing import current_traceparent

# Whole names, or the beginning of many where the last character is `_` or `*`.
_ALL_NEED = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LC_", "VIRTUAL_ENV", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "LD_", "TCMALLOC_", "FAKETIME*", "NO_FAKE_STAT",  # what is preloaded, and what it reads
    "PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONUNBUFFERED",
    "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONNOUSERSITE",
    "PYTHONFAULTHANDLER", "PYTHONDEVMODE",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_",
)  # fmt: skip
_TRAINING_NEEDS = (
    "HF_", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_", "ACCELERATE_", "TOKENIZERS_",
    "XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",  # models, maybe from the hub
    "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "PYTORCH_", "ATEN_", "DNNL_", "ONEDNN_", "TRITON_", "CUDA*", "CUBLAS*",
    "CUDNN_", "NCCL_",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "ROCM_", "ROCR_", "HIP_", "HSA_", "MIOPEN_",
    "GPU_DEVICE_ORDINAL", "ZE_",  # the processor and the accelerator
)  # fmt: skip
# glibc would give the large temporaries of a CPU step back to the kernel each time: 1.6 times slower without these.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}


def plain_environment() -> dict[str, str]:
    """For what fetches, looks at rows or renders: the system's settings and the current trace, no secret."""
    trace = current_traceparent()
    return _passed(_ALL_NEED) | _MALLOC | ({} if trace is None else {"TRACEPARENT": trace})


def training_environment(model_cache: Path) -> dict[str, str]:
    """For the training: what the others get, and what models, their hub and the accelerator are set with."""
    ours = {"HF_HUB_DISABLE_TELEMETRY": "1", "ONCETUNE_MODEL_CACHE": str(model_cache)}
    return plain_environment() | _passed(_TRAINING_NEEDS) | ours


def _passed(names: Collection[str]) -> dict[str, str]:
    whole = {name for name in names if not name.endswith(("_", "*"))}
    beginnings = tuple(name.removesuffix("*") for name in names if name not in whole)
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() in whole or name.startswith(beginnings)  # http_proxy is HTTP_PROXY
    }
