"""The web pages, made by the command that the workflow runs, and opened in a real browser."""

import re
import shutil
import subprocess
import sys
from urllib.parse import unquote, urldefrag

import pytest
from conftest import ROOT

MAKE = ROOT / ".github" / "pages.py"
LINKED = ("README.md", "notebooks/README.md", "notebooks/intuition.ipynb", "notebooks/side_notes.ipynb")


def run(script, *arguments):
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("nbconvert")
    folder = tmp_path_factory.mktemp("site") / "site"
    made = run(MAKE, folder)
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    return folder


@pytest.fixture
def visit(browser):
    """Open an address; what is asked for from other sites fails, as without a network."""

    def visit(address):
        page = browser.new_context(reduced_motion="reduce").new_page()
        page.route(re.compile("^http"), lambda route: route.abort())
        page.goto(address)
        return page

    return visit


def test_the_workflow_runs_this_script():
    workflow = (ROOT / ".github" / "workflows" / "pages.yml").read_text()
    assert 'run: python .github/pages.py site --address "$GITHUB_REPOSITORY"' in workflow
    assert "path: site\n" in workflow


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
    address = (ROOT / ".github" / "repository").read_text().strip()
    assert elsewhere == {
        f"https://github.com/{address}",
        f"https://github.com/{address}/blob/main/vae_mnist.py",
        f"https://github.com/{address}/blob/main/notebooks/README.md",
        "https://hsaghir.github.io/data_science/denoising-vs-variational-autoencoder/",
    }


def test_the_frame_in_the_notebook_holds_the_explorer(site, visit):
    page = visit((site / "notebooks" / "intuition.html").as_uri())
    page.locator("iframe").scroll_into_view_if_needed()
    frame = page.locator("iframe").element_handle().content_frame()
    frame.wait_for_selector("#pick-digit button")
    assert frame.url.split("#")[0].endswith("figures/explorer.html")
    page.context.close()


def test_another_address_goes_into_every_link(tmp_path):
    """As the owner of a fork gives it; giving the old one back changes nothing."""
    for name in (*LINKED, ".github/repository", ".github/pages.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    address = (ROOT / ".github" / "repository").read_text().strip()
    script = tmp_path / ".github" / "pages.py"
    assert run(script, "--address", "alice/my.vae").returncode == 0
    text = (tmp_path / "README.md").read_text()
    assert "](https://alice.github.io/my.vae/)" in text
    colab = re.findall(r"colab\.research\.google\.com/github/([\w./-]+)", text)
    assert colab == [f"alice/my.vae/blob/main/notebooks/{name}.ipynb" for name in ("intuition", "side_notes")]
    assert "git clone https://github.com/alice/my.vae" in (tmp_path / "notebooks" / "README.md").read_text()
    owner = address.split("/")[0]
    assert [name for name in LINKED if re.search(rf"\b{owner}\b[./]", (tmp_path / name).read_text())] == []
    assert run(script, "--address", address).returncode == 0
    assert all((tmp_path / name).read_text() == (ROOT / name).read_text() for name in LINKED)


@pytest.mark.parametrize("address", ["alice", "alice/a b", "https://github.com/alice/vae"])
def test_what_is_no_address_is_refused(address):
    done = run(MAKE, "--address", address)
    assert done.returncode != 0
    assert "give its owner/name on GitHub" in done.stderr
    assert "Traceback" not in done.stderr
