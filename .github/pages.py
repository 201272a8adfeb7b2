"""The project as web pages, without a server: the explorer of the committed run, and the notebooks, rendered.

    python .github/pages.py --address alice/vae   write the links to this repository on GitHub
    python .github/pages.py FOLDER                write the pages, as the workflow pages.yml does

The address stands in .github/repository. Until it is given, that file is empty and nothing links to it, as such a link
would be dead. Nothing is trained or run here. Needs nbconvert.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = ROOT / ".github" / "repository"
NOTEBOOKS = ("intuition", "side_notes")
BADGE = "[![{text}](https://colab.research.google.com/assets/colab-badge.svg)]"
ONLINE = f"""[**Play with it in your browser**](https://{{owner}}.github.io/{{name}}/), or open a notebook in Colab:
{BADGE.format(text="The post in Colab")}({{colab}}/intuition.ipynb)
{BADGE.format(text="The side notes in Colab")}({{colab}}/side_notes.ipynb)
{BADGE.format(text="The exercises in Colab")}({{colab}}/exercises.ipynb)
"""  # what the README says where there is an address


def move(address):
    """Write the links to the repository at an address, "owner/name", into the README and the notebooks."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", address):
        sys.exit(f"pages.py: {address!r} is no address of a repository: give its owner/name on GitHub.")
    owner, name = address.split("/")
    colab = f"https://colab.research.google.com/github/{address}/blob/main/notebooks"
    online = ONLINE.format(owner=owner, name=name, colab=colab)
    replace(ROOT / "README.md", r"(<!-- online[^>]*-->\n).*?(?=<!-- /online -->)", online)
    for notebook in (*NOTEBOOKS, "exercises"):
        replace(
            ROOT / "notebooks" / f"{notebook}.ipynb", r'(CODE = \\")[^"\\]*(?=\\")', f"https://github.com/{address}"
        )
    ADDRESS.write_text(f"{address}\n", encoding="utf-8")


def replace(path, pattern, text):
    """Put `text` after the first group of `pattern`, which must be found in the file once."""
    before = path.read_text(encoding="utf-8")
    after, count = re.subn(pattern, lambda found: found[1] + text, before, flags=re.S)
    if count != 1:
        sys.exit(f"pages.py: {path.name} has {count} places for the address, not 1: fetch the file anew.")
    path.write_text(after, encoding="utf-8")


def build(folder):
    """Write the pages into a new folder: index.html, figures/ and notebooks/, as they lie here."""
    address = ADDRESS.read_text(encoding="utf-8").strip()
    if not address:
        sys.exit("pages.py: the pages link to the code on GitHub: give its owner/name with --address, too.")
    (folder / "notebooks").mkdir(parents=True)
    (folder / "figures").mkdir()
    for path in [*(ROOT / "figures").glob("*.png"), ROOT / "figures" / "explorer.html"]:
        shutil.copy(path, folder / "figures")
    code = f"https://github.com/{address}"
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
