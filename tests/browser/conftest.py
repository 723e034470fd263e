"""A real browser for the views: plain pages that need no server, and a JupyterLab of its own."""

import os
from pathlib import Path

import pytest
from labserver import ARGUMENTS, chromium_path, start_lab, stop_lab
from watched import WAIT, Watched


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=ARGUMENTS)
        except Error as error:
            if os.environ.get("BIREFNET_REQUIRE_ALL"):
                raise
            pytest.skip(f"There is no Chromium to test with: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture
def watched(browser):
    context = browser.new_context(viewport={"width": 1240, "height": 1000}, offline=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    yield Watched(page)
    context.close()


@pytest.fixture
def opened(watched, tmp_path):
    """Opens a viewer's exported page, network cut, and waits for its first picture."""

    def open_page(viewer, wait=True, before=None, **options):
        path = tmp_path / "view.html"
        viewer.to_html(path, **options)
        if before:
            watched.page.add_init_script(before)
        watched.page.goto(path.as_uri())
        if wait:
            watched.page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
        return watched.page

    return open_page


@pytest.fixture(scope="session")
def opened_explorer(browser, explorer_file):
    """The page from disk, network cut and its network ready: loading it takes seconds, so the tests share it."""
    context = browser.new_context(viewport={"width": 1240, "height": 1000}, offline=True, accept_downloads=True)
    watched = Watched(context.new_page())
    watched.page.set_default_timeout(WAIT)
    watched.page.add_init_script(
        "globalThis.workers = []; globalThis.Worker = class extends Worker {"
        " constructor(...given) { super(...given); workers.push(this); } };"
    )
    watched.page.goto(explorer_file.as_uri())
    watched.page.wait_for_selector('[data-explorer][data-state="ready"]')
    yield watched
    context.close()


@pytest.fixture
def explorer(opened_explorer):
    yield opened_explorer.page
    assert opened_explorer.errors == []
    assert opened_explorer.outside == []


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    process, server = start_lab(tmp_path_factory.mktemp("lab"))
    yield server
    stop_lab(process, server)


@pytest.fixture
def lab_page(browser, lab):
    context = browser.new_context(viewport={"width": 1500, "height": 1200}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    yield Watched(page)
    context.close()
    lab.stop_kernels()
