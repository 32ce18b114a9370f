"""The names of ``general.file_type``, as users know them."""

from typing import Final

UNKNOWN: Final = "unknown"

# 4 is what Ollama wrote for MXFP4 before llama.cpp gave it 38. 0 (F32) is unknown: converters that
# do not say what they wrote leave it.
FILE_TYPE_NAMES: Final = {
    1: "F16", 2: "Q4_0", 3: "Q4_1", 4: "MXFP4", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1",
    10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M",
    16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S",
    22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip


def file_type_name(value: object) -> str:
    """The name of a file type; "unknown" for a missing value or one that nobody assigned."""
    return FILE_TYPE_NAMES.get(value, UNKNOWN) if isinstance(value, int) else UNKNOWN


_NUMBERS: Final = {name: number for number, name in FILE_TYPE_NAMES.items()}
_ALIASES: Final = {"F32": 0, "MXFP4": 38} | {
    f"Q{bits}_K": _NUMBERS[f"Q{bits}_K_M"] for bits in (3, 4, 5)
}


def find_file_type(name: str) -> int | None:
    """The number of a file type by its name, in any case: ``q4_K_M``, ``q8_0``, ``f16``."""
    upper = name.upper()
    return _ALIASES.get(upper, _NUMBERS.get(upper))
