"""Builds kernel_bytes.js, which the page carries, from kernel.c.

    pip install ziglang==0.17.1
    python seevae/results/explorer/kernel.py

ziglang holds a whole C compiler (clang) as a package. Another version may give other bytes.
"""

import base64
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE / "kernel_bytes.js"
FLAGS = [
    *("--target=wasm32-freestanding", "-msimd128", "-O3", "-ffreestanding", "-fno-builtin", "-nostdlib"),
    *("-Wl,--no-entry", "-Wl,--import-memory", "-Wl,--strip-all", "-Wl,-z,stack-size=4096"),
]


def build():
    """The text of kernel_bytes.js, built anew. Raises CalledProcessError where ziglang is missing or fails."""
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "kernel.wasm"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(module), "kernel.c"]
        subprocess.run(command, cwd=HERE, check=True, capture_output=True)
        text = base64.b64encode(module.read_bytes()).decode()
    head = '// needs: nothing\n"use strict";\n// kernel.c as WebAssembly, built by kernel.py.\n'
    return f'{head}const KERNEL_BYTES =\n  "{text}";\n'


if __name__ == "__main__":
    TARGET.write_text(build(), encoding="utf-8")
