"""What is said of a dataset before a GPU is used.

    canonical JSONL ─▶ examine ─▶ QualityReport: findings (code, level, count, lines, example) and numbers

The texts are read one row at a time and not kept; what is kept of a row are hashes and counts.
"""

from oncetune.datasets.quality.examine import count_left_out, examine

__all__ = ["count_left_out", "examine"]
