"""The pictures a visitor has given to the form: to start from, to paint over, to resemble.

Sent along or chosen from finished pictures, they stay until they are removed: through other engines and pages, and
through a lost connection. Streamlit forgets an upload as soon as its widget is not drawn, so each is kept in the store
at once, see db.artefacts.drafts, and the form holds its key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import DeletedFile, UploadedFile

from db.artefacts import Artefact
from db.errors import SourceHidden, UnknownArtefact
from db.jobs import Job
from generator import registry
from generator.params import BadParams, params_class
from generator.prompts import PromptError, parse_pictures
from pages.components.picture import draw_picture
from pages.shared import form_memory, kept_files
from pages.shared.errors import problem, sentence
from pages.shared.language import N_, _
from pages.shared.studio import the_studio
from pages.shared.text import esc, quoted, short
from studio import access
from studio.context import Submitter
from studio.engines import engine_title
from studio.errors import SENTENCES
from studio.uploads import MAX_IMAGE_PROMPTS, SETTINGS, TYPES, Upload, keep_draft

_GIVEN = "pictures_given"
_LEFT_OUT = "pictures_left_out"
_MANY = "image_prompts"  # the setting that takes several
_SIDE = 56  # px
WHO_SEES = N_(
    "Only you are shown a picture you give; everyone sees what is made from it and how that formed, which may look "
    "like it. It is kept until you delete it under Previous Inferences, or the host ends the event; unused, for a day."
)
LABELS = {
    "init_image": N_("Picture to start from"),
    "mask_image": N_("Mask: its white part is drawn anew"),
    _MANY: N_("Pictures to resemble"),
}
_SHOWN = "given_shown"
_ONE = {"init_image": N_("Starts from"), "mask_image": N_("Mask"), _MANY: N_("Is to resemble")}
_NOT_TAKEN = {
    "init_image": N_("{name} does not start from a picture; it is kept for engines that do."),
    "mask_image": N_("{name} takes no mask; it is kept for models that do."),
    _MANY: N_("{name} takes no pictures to resemble; it is kept for engines that do."),
}


@dataclass(frozen=True)
class Given:
    """A picture as one setting names it.

    text: its key, or the id of its record, with a weight where the setting takes one. name: of the file, or the prompt
    it was drawn from. job, picture: the ids of a finished picture. trouble: why it could not be kept. on: the text of
    the picture that a mask was painted on; it goes with it.
    """

    setting: str
    text: str
    name: str = ""
    job: str | None = None
    picture: str | None = None
    trouble: str = ""
    on: str | None = None

    @property
    def reference(self) -> str:
        """The text without its weight."""
        if self.setting != _MANY:
            return self.text
        try:
            return parse_pictures(self.text, negative_only=True)[0].text
        except PromptError:
            return self.text

    @property
    def called(self) -> str:
        """The name for a sentence."""
        return quoted(short(self.name, 60)) if self.name else _(_ONE[self.setting])


def of_settings(params: Mapping[str, Any]) -> list[Given]:
    """The pictures that the settings of a job name."""
    on = {"mask_image": params.get("init_image")}
    named = [Given(name, str(params[name]), on=on.get(name)) for name in SETTINGS if name != _MANY and params.get(name)]
    texts = [part.strip() for part in str(params.get(_MANY) or "").split("|")]
    return [*named, *(Given(_MANY, text) for text in texts if text)]


def finished(job: Job, picture: Artefact) -> Given:
    """A job's finished picture, to start from."""
    return Given("init_image", picture.key, job.prompt, job.id, picture.id)


def preset(pictures: Sequence[Given], *, left_out: bool = False) -> dict[str, Any]:
    """These pictures as `form_memory.preset` takes them. left_out: there were others, which somebody else gave."""
    return {_GIVEN: [asdict(one) for one in pictures], _LEFT_OUT: left_out}


def given() -> list[Given]:
    """All pictures given, whether or not the engine takes them."""
    names, found = {field.name for field in fields(Given)}, []
    for one in form_memory.remembered().get(_GIVEN) or []:  # it may come from a browser
        if (
            isinstance(one, dict)
            and one.keys() <= names
            and one.get("setting") in SETTINGS
            and isinstance(one.get("text"), str)
        ):
            found.append(Given(**{name: value for name, value in one.items() if isinstance(value, str)}))
    starts = [one.text for one in found if one.setting == "init_image"]
    return [one for one in found if one.on is None or one.on in starts]


def takes(engine: str, checkpoint: str) -> list[str]:
    """The settings that name pictures and that the engine reads with this checkpoint."""
    unused = registry.checkpoint(checkpoint).unused
    return [name for name in SETTINGS if name in params_class(engine).model_fields and name not in unused]


def values(engine: str, checkpoint: str) -> dict[str, Any]:
    """The settings that name the pictures given, those that the engine reads alone."""
    texts: dict[str, list[str]] = {}
    for one in given():
        if one.setting in takes(engine, checkpoint) and not one.trouble:
            texts.setdefault(one.setting, []).append(one.text)
    return {name: " | ".join(some) for name, some in texts.items()}


def lineage(engine: str, checkpoint: str) -> tuple[str | None, str | None]:
    """The job and the picture that a start picture is from, where it is a finished one and the engine reads it."""
    first = next((one for one in given() if one.setting == "init_image"), None)
    if first is None or first.trouble or "init_image" not in takes(engine, checkpoint):
        return None, None
    return first.job, first.picture


def uploaders(engine: str, checkpoint: str, visitor: Submitter) -> None:
    """Where pictures are dropped or taken with a phone; what comes is kept, and the place is empty again."""
    for setting in takes(engine, checkpoint):
        place = st.empty()
        key = _uploader_key(setting)
        files = _uploader(place, setting, key)
        there = st.session_state.get(key)
        lost = any(isinstance(one, DeletedFile) for one in (there if isinstance(there, list) else [there]))
        if files or lost:
            # Another key, for else the browser would show the file here as well.
            form_memory.remembered()[f"uploads_{setting}"] = _taken(setting) + 1
            add(setting, [kept(setting, file, visitor) for file in files])
            if lost:
                cut_off = _("A picture was lost with the connection while it was sent: give it again.")
                add(setting, [Given(setting, "", trouble=cut_off)])
            _uploader(place, setting, _uploader_key(setting))
    if takes(engine, checkpoint):
        st.caption(_(WHO_SEES))


def draw(engine: str, checkpoint: str, visitor: Submitter, ways: Callable[[Given], None]) -> None:
    """Every picture given, with its name, where it is from, what stands against it, and how to be rid of it.

    ways: draws what else can be done with one that is used.
    """
    pictures, taken, used = given(), takes(engine, checkpoint), 0
    if form_memory.remembered().get(_LEFT_OUT):
        st.caption(
            _(
                "These settings came with a picture that somebody else gave; it is theirs and was left out. Give one "
                "of your own, or use the finished picture as init image."
            )
        )
    for place, one in enumerate(pictures):
        number = sum(other.setting == one.setting for other in pictures[:place])
        name, read = f"{one.setting}_{number}" if number else one.setting, one.setting in taken
        against = "" if read else _not_taken(one.setting, engine, checkpoint)
        trouble, hidden = _trouble(one, visitor)
        used += read and not trouble
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_given_{name}"):
            data = None if trouble else _thumbnail(one.reference, visitor)
            draw_picture(data, key=f"given_{name}", alt=_(LABELS[one.setting]), instead="?", side=_SIDE)
            st.html(_told(one, against if hidden else trouble or against))
            others = [*pictures[:place], *pictures[place + 1 :]]
            st.button(
                _("Remove"),
                key=f"remove_{name}",
                icon=":material/close:",
                type="tertiary",
                on_click=form_memory.preset,
                args=(preset(others),),
            )
        if hidden:
            problem(trouble)
        elif read and not trouble:
            ways(one)
    if used:
        st.caption(_("Used for every picture you ask for, until you remove it."))


def _told(one: Given, against: str) -> str:
    about = f'<b>{esc(_(_ONE[one.setting]))}</b> <bdi title="{esc(one.name)}">{esc(short(one.name, 60))}</bdi>'
    if against:
        return f'<div class="t2i-given">{about}</div><div class="t2i-trouble" role="status">{esc(against)}</div>'
    return f'<div class="t2i-given">{about}</div><div class="t2i-meta">{esc(_source(one))}</div>'


def check(engine: str, checkpoint: str, visitor: Submitter) -> None:
    """Raises BadParams where a picture that the engine would read is gone: nothing is drawn silently without it."""
    for one in given():
        if one.setting in takes(engine, checkpoint) and (trouble := _trouble(one, visitor)[0]):
            raise BadParams(trouble)


def asked_for(job: Job, taken: Sequence[str]) -> None:
    """The pictures of a job that was queued are kept with it from now on, and named as it names them."""
    found: dict[str, list[Given]] = {}
    for one in of_settings(job.params):
        found.setdefault(one.setting, []).append(one)
    after, renamed = [], dict[str | None, str]()
    for one in given():
        named = found.get(one.setting) if one.setting in taken else None
        after.append(replace(one, text=named.pop(0).text) if named else one)
        renamed[one.text] = after[-1].text
    form_memory.remembered().update(preset([replace(one, on=renamed.get(one.on, one.on)) for one in after]))
    st.session_state[_SHOWN] = {one.text for one in given()}  # another name makes none of them a new one


def _uploader(place: Any, setting: str, key: str) -> list[UploadedFile]:
    with place:
        files = st.file_uploader(_(LABELS[setting]), TYPES, accept_multiple_files=setting == _MANY, key=key)
    if isinstance(files, list):
        return files
    return [] if files is None else [files]


def _taken(setting: str) -> int:
    count = form_memory.remembered().get(f"uploads_{setting}", 0)
    return count if isinstance(count, int) else 0


def _uploader_key(setting: str) -> str:
    return f"upload_{setting}_{_taken(setting)}" if _taken(setting) else f"upload_{setting}"


def is_one_new() -> bool:
    """Whether a picture is there that was not when this session drew the form before."""
    now, before = {one.text for one in given()}, st.session_state.get(_SHOWN)
    st.session_state[_SHOWN] = now
    return before is not None and bool(now - before)


def kept_bytes(setting: str, upload: Upload, visitor: Submitter) -> Given:
    """The picture in the store; where it cannot be kept, why."""
    try:
        return Given(setting, keep_draft(the_studio(), visitor, upload).key, upload.name)
    except SENTENCES as error:
        return Given(setting, "", upload.name, trouble=sentence(error))


def kept(setting: str, file: UploadedFile, visitor: Submitter) -> Given:
    """The upload in the store, and gone from the memory of the web app."""
    try:
        return kept_bytes(setting, Upload(file.name, file.getvalue()), visitor)
    finally:
        context = get_script_run_ctx()
        if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


def add(setting: str, new: list[Given]) -> None:
    """One picture takes the place of the one before, unless it could not be kept; of those to resemble there may be
    several."""
    before = given()
    if setting != _MANY:
        last, stays = new[-1:], [one for one in before if one.setting != setting]
        if not last or last[0].trouble:
            stays = [one for one in before if one.setting != setting or not one.trouble]
        form_memory.remembered().update(preset([*stays, *last]))
        return
    there = sum(one.setting == _MANY and not one.trouble for one in before)
    most = _(
        "{given} pictures to resemble; at most {most} are allowed.", given=there + len(new), most=MAX_IMAGE_PROMPTS
    )
    room = max(0, MAX_IMAGE_PROMPTS - there)
    beyond = [one if one.trouble else replace(one, text="", trouble=most) for one in new[room:]]
    form_memory.remembered().update(preset([*before, *new[:room], *beyond]))


def _trouble(one: Given, visitor: Submitter) -> tuple[str, bool]:
    """Why the picture is not there, as one sentence, empty where it is; and whether the host has hidden it."""
    if one.trouble:
        return one.trouble, False
    try:
        access.check_source(the_studio(), visitor, one.reference)
    except UnknownArtefact:
        return _("{name} was lost: give it again.", name=one.called), False
    except SENTENCES as error:
        return sentence(error), isinstance(error, SourceHidden)
    return "", False


def _thumbnail(reference: str, visitor: Submitter) -> bytes | None:
    try:
        return kept_files.thumbnail(reference, lambda: access.source(the_studio(), visitor, reference))
    except SENTENCES:
        return None  # since it was looked for


def _not_taken(setting: str, engine: str, checkpoint: str) -> str:
    whole = setting in params_class(engine).model_fields  # it is this model alone that does not read it
    return _(_NOT_TAKEN[setting], name=registry.checkpoint(checkpoint).title if whole else engine_title(engine))


def _source(one: Given) -> str:
    if one.job is not None:
        return _("a finished picture")
    if one.on is not None and one.setting == "mask_image":
        return _("goes with the picture")
    return _("sent by you") if one.name else _("as in the settings taken over")
