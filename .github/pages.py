"""The project as web pages, without a server: the explorer of the committed run, and both notebooks, rendered.

    python .github/pages.py FOLDER                write the pages (the workflow pages.yml publishes them)
    python .github/pages.py --address alice/vae   make all links to this repository lead to that one

The address stands in .github/repository. Nothing is trained or run here. Needs nbconvert.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = ROOT / ".github" / "repository"
NOTEBOOKS = ("intuition", "side_notes")
LINKED = ("README.md", "notebooks/README.md", *(f"notebooks/{name}.ipynb" for name in NOTEBOOKS))


def links(address):
    """How an address, "owner/name", stands in a text: on GitHub and Colab, and on GitHub Pages."""
    owner, name = address.split("/")
    return f"{owner}/{name}", f"{owner}.github.io/{name}"


def move(address):
    """Write another address, "owner/name", into all files that link to this repository."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", address):
        sys.exit(f"pages.py: {address!r} is no address of a repository: give its owner/name on GitHub.")
    before = ADDRESS.read_text(encoding="utf-8").strip()
    for path in (*(ROOT / name for name in LINKED), ADDRESS):
        text = path.read_text(encoding="utf-8")
        for old, new in zip(links(before), links(address), strict=True):
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def build(folder):
    """Write the pages into a new folder: index.html, figures/ and notebooks/, as they lie here."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "figures").mkdir()
    for path in [*(ROOT / "figures").glob("*.png"), ROOT / "figures" / "explorer.html"]:
        shutil.copy(path, folder / "figures")
    code = f"https://github.com/{ADDRESS.read_text(encoding='utf-8').strip()}"
    for name in NOTEBOOKS:
        (folder / "notebooks" / f"{name}.html").write_text(rendered(name, code), encoding="utf-8")
    index = (Path(__file__).parent / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(index.replace("CODE", code), encoding="utf-8")


def rendered(name, code):
    """A notebook as HTML. Its links to notebooks lead to their pages, those to other files to `code`, on GitHub."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(require_js_url="", jquery_url="", mathjax_url="")
    page, _ = exporter.from_filename(ROOT / "notebooks" / f"{name}.ipynb")
    page = re.sub(r'href="(?:\./)?(\w+)\.ipynb"', r'href="\1.html"', page)
    page = page.replace('href="README.md', f'href="{code}/blob/main/notebooks/README.md')
    return re.sub(r'href="\.\./(?!figures/)([\w./-]+)"', rf'href="{code}/blob/main/\1"', page)


def main():
    """Write the pages, or the address."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where the pages go: a folder that is not there yet")
    parser.add_argument("--address", metavar="OWNER/NAME", help="of the repository on GitHub, to which all links lead")
    args = parser.parse_args()
    if args.address:
        move(args.address)
    if args.folder:
        build(args.folder)
    if not args.folder and not args.address:
        parser.error("give a folder for the pages, or --address")


if __name__ == "__main__":
    main()
