"""The command `vae-mnist` of an installed package, or `python -m seevae`: the script vae_mnist.py, run as such."""

import runpy


def main():
    """Run vae_mnist.py with the options of this process; it ends the process with its exit status."""
    runpy.run_module("vae_mnist", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
