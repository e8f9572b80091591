"""Pictures that are pasted or dropped come in; a mask painted with mouse, finger or keys arrives as it was painted."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from tests.browser.conftest import REST_MS, phone_or_desktop, playwright_api, settled
from tests.pages.visits import Studio, picture_bytes

expect = playwright_api.expect


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_painted_is_what_is_drawn_anew(
    hosted: tuple[str, Studio], browser: playwright_api.Browser, width: int
) -> None:
    address, studio = hosted
    page = phone_or_desktop(browser, width)
    page.goto(address)
    page.locator(".st-key-set_prompt textarea").fill("a red heart")
    page.get_by_text("Start from a picture").click()
    photo = {"name": "photo.png", "mimeType": "image/png", "buffer": picture_bytes("PNG")}
    page.locator("[class*=st-key-upload_init_image] input[type=file]").set_input_files(photo)
    page.get_by_role("button", name="Paint a mask").click()
    canvas, status = page.locator(".t2i-mask canvas"), page.locator(".t2i-mask [role=status]")
    expect(status).to_contain_text("Nothing is painted yet")
    box = canvas.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width
    left = {"x": box["width"] * 0.1, "y": box["height"] * 0.5}
    if width < 600:
        canvas.tap(position=left)
    else:
        canvas.click(position=left)
        canvas.press("ArrowRight")
        canvas.press(" ")
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("button", name="Redo").click()
    expect(status).to_contain_text("is drawn anew")
    page.get_by_role("button", name="Invert").click()
    page.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_text("goes with the picture")).to_be_visible()
    page.get_by_role("button", name="Generate").click()
    page.locator("[data-testid=stToast]").first.wait_for(timeout=REST_MS)
    job = studio.run()
    with Image.open(io.BytesIO(studio.store.get(str(job.params["mask_image"])))) as image:
        mask = image.convert("L")
    painted, elsewhere = mask.getpixel((mask.width // 10, mask.height // 2)), mask.getpixel((mask.width - 9, 9))
    assert abs(mask.width / mask.height - 1.5) < 0.01, "the shape of the picture"
    assert painted == 0 and elsewhere == 255, "inverted: all but what was painted"
    studio.finish(job)
    card = page.locator("[class*='st-key-job_']")
    expect(card.get_by_text("done in")).to_be_visible()
    page.wait_for_timeout(1000)
    expect(card.locator("img")).to_be_in_viewport()  # the page does not go back to the form


SENT = """([data, kind]) => {
    const file = new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], "p.png", { type: "image/png" });
    const carried = new DataTransfer();
    carried.items.add(file);
    const how = { bubbles: true, cancelable: true, dataTransfer: carried, clipboardData: carried };
    const field = document.querySelector(".st-key-set_prompt textarea");
    field.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, how) : new DragEvent(kind, how));
}"""


def test_a_picture_is_pasted_or_dropped_on_the_prompt(
    hosted: tuple[str, Studio], browser: playwright_api.Browser
) -> None:
    address, _ = hosted
    page = phone_or_desktop(browser, 1280)
    page.goto(address)
    page.locator(".st-key-set_prompt textarea").fill("a red heart")
    settled(page)
    for kind, answer, shown in (("paste", "Start from it", "Starts from"), ("drop", "Resemble it", "Is to resemble")):
        page.evaluate(SENT, [base64.b64encode(picture_bytes("PNG")).decode(), kind])
        page.get_by_role("button", name=answer).click()
        expect(page.get_by_text(shown)).to_be_visible()
    expect(page.locator(".st-key-set_prompt textarea")).to_have_value("a red heart")
