"""The web pages, made by the command that the workflow runs, and opened in a real browser."""

import json
import re
import shutil
import subprocess
import sys
from urllib.parse import unquote, urldefrag

import pytest
from conftest import ROOT

MAKE = ROOT / ".github" / "pages.py"
NAMES = ("intuition", "side_notes", "exercises")
LINKED = ("README.md", *(f"notebooks/{name}.ipynb" for name in NAMES))
ADDRESS = "alice/my.vae"


def run(script, *arguments):
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=600)


def copied(folder, *more):
    """What the script needs, copied into `folder`, with no address set; more: further folders."""
    for name in (".github", "notebooks", *more):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "README.md", folder)
    (folder / ".github" / "repository").write_text("")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("nbconvert")
    folder = copied(tmp_path_factory.mktemp("project"), "figures")
    made = run(folder / ".github" / "pages.py", folder / "site", "--address", ADDRESS)
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    return folder / "site"


@pytest.fixture
def visit(browser):
    """Open an address; what is asked for from other sites fails, as without a network."""

    def visit(address):
        page = browser.new_context(reduced_motion="reduce").new_page()
        page.set_default_timeout(120_000)
        page.route(re.compile("^http"), lambda route: route.abort())
        page.goto(address)
        return page

    return visit


def test_the_workflow_runs_this_script():
    workflow = (ROOT / ".github" / "workflows" / "pages.yml").read_text()
    assert 'run: python .github/pages.py site --address "$GITHUB_REPOSITORY"' in workflow
    assert "path: site\n" in workflow


@pytest.mark.slow
def test_every_link_leads_somewhere_and_every_picture_is_there(site, visit):
    """From page to page; of links to other sites, only which they are."""
    waiting, seen, elsewhere = ["index.html"], set(), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        page = visit((site / name).as_uri())
        for picture in page.locator("img").all():
            assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0, name
        for link in page.locator("a[href]").all() if "explorer" not in name else []:
            address, anchor = urldefrag(link.get_attribute("href"))
            if address.startswith("http"):
                elsewhere.add(address)
                continue
            target = (site / name).parent.joinpath(unquote(address)).resolve() if address else site / name
            assert target.is_file(), (name, address)
            if anchor and target == site / name:
                assert page.evaluate("id => document.getElementById(id) !== null", unquote(anchor)), (name, anchor)
            if target.suffix == ".html" and str(target.relative_to(site)) not in seen | {*waiting}:
                waiting.append(str(target.relative_to(site)))
        page.context.close()
    assert seen == {"index.html", "figures/explorer.html", "notebooks/intuition.html", "notebooks/side_notes.html"}
    assert elsewhere == {
        f"https://github.com/{ADDRESS}",
        f"https://github.com/{ADDRESS}/blob/main/docs/recipe.md",
        f"https://github.com/{ADDRESS}/blob/main/notebooks/README.md",
        "https://hsaghir.github.io/data_science/denoising-vs-variational-autoencoder/",
    }


def test_the_frame_in_the_notebook_holds_the_explorer(site, visit):
    page = visit((site / "notebooks" / "intuition.html").as_uri())
    page.locator("iframe").scroll_into_view_if_needed()
    frame = page.locator("iframe").element_handle().content_frame()
    frame.wait_for_selector("#pick-digit button")
    assert frame.url.split("#")[0].endswith("figures/explorer.html")
    page.context.close()


def test_an_address_goes_into_every_link_and_another_takes_its_place(tmp_path):
    """As the owner of a fork gives it, and another one after that."""
    script = copied(tmp_path) / ".github" / "pages.py"
    written = []
    for address in ("first/place", ADDRESS):
        assert run(script, "--address", address).returncode == 0
        written.append([(tmp_path / name).read_text() for name in LINKED])
    assert [text.replace("first/place", ADDRESS) for text in written[0][1:]] == written[1][1:]
    readme, *notebooks = written[1]
    assert "](https://alice.github.io/my.vae/)" in readme
    colab = re.findall(r"colab\.research\.google\.com/github/([\w./-]+)", readme)
    assert colab == [f"{ADDRESS}/blob/main/notebooks/{name}.ipynb" for name in NAMES]
    first_cells = [json.loads(text)["cells"][1]["source"] for text in notebooks]
    assert all(f'CODE = "https://github.com/{ADDRESS}"' in "".join(lines) for lines in first_cells)
    assert "first" not in "".join(re.findall(r"https://\S+", readme))


def test_no_link_leads_to_a_repository_before_its_address_is_set(tmp_path):
    """A dead link is the first thing that a reader would click: the page, and the badges of Colab."""
    address = (ROOT / ".github" / "repository").read_text().strip()
    if address:
        pytest.skip(f"the address is set: {address}")
    pages = [ROOT / name for name in LINKED] + [*(ROOT / "docs").glob("*.md"), ROOT / "notebooks" / "README.md"]
    links = "\n".join(re.findall(r"https://[^\s)\"\\]+", "\n".join(path.read_text() for path in pages)))
    assert re.findall(r".*(?:OWNER|colab\.research|//\w+\.github\.io/vae).*", links) == []
    refused = run(copied(tmp_path) / ".github" / "pages.py", tmp_path / "site")
    assert "give its owner/name with --address" in refused.stderr
    assert (refused.returncode, (tmp_path / "site").exists()) == (1, False)


@pytest.mark.parametrize("address", ["alice", "alice/a b", "https://github.com/alice/vae"])
def test_what_is_no_address_is_refused(address):
    done = run(MAKE, "--address", address)
    assert done.returncode != 0
    assert "give its owner/name on GitHub" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_hand_out_is_one_page_of_paper_that_nothing_overflows(browser):
    page = browser.new_page(viewport={"width": 800, "height": 1100})
    page.goto((ROOT / "docs" / "handout.html").as_uri())
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    low, high = re.search(r"lies between \*\*([\d.]+) and ([\d.]+)\*\*", (ROOT / "README.md").read_text()).groups()
    assert f"{low} and {high}" in page.inner_text("body")
