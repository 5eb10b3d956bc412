"""One record of a published file on its way to edits: its fields become questions, answers and probes.

Knows the words that all these files share, and how a benchmark's template wraps a question; opens no picture: a
picture is a path here, and the reference of a file that is not read yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.files.fields import RecordFields
from streams.files.joining import Draft
from streams.pictures.images import named_ref
from streams.types import Axis, Edit, ImageError, ImageRef, Probe, Query, Reference, modality_of

BLANK = "{}"  # where a template takes the question
HOP_KINDS = {f"{n}-hop": n for n in (1, 2, 3, 4)}


@dataclass(frozen=True)
class Wordings:
    """How a benchmark words its questions: those about the edit, about an unrelated picture, and without a picture.

    Each is a text with one `{}` for the question. Benchmarks differ in what they wrap: `published/README.md`.
    """

    edit: str = BLANK
    other: str = BLANK
    text: str = BLANK


@dataclass(frozen=True)
class Pictured:
    """A draft of an edit with the fields that name its pictures: for each field the path below the root.

    `text` is the record as it stands in its file.
    """

    draft: Draft
    root: str
    paths: tuple[tuple[str, str], ...]
    text: str


class Case:
    """A record that is being read: what is wrong is noted in its fields, and the edits that it asks for are gathered.

    `edit` begins one, the other methods give it probes. A field that is not there is noted, unless it is optional.
    """

    def __init__(
        self,
        fields: RecordFields,
        template: Wordings,
        root: str,
        place: str,
        text: str,
        source: str,
        part: str,
        pictures: dict[str, ImageRef | ImageError],
    ) -> None:
        self.fields, self.template, self.part = fields, template, part
        self._pictures = pictures  # those of the whole file so far, by path
        self._root, self._place, self._text, self._source = root, place, text, source
        self._drafts: list[Pictured] = []
        self._edit: Edit | None = None
        self._truths: tuple[str, ...] = ()
        self._probes: list[Probe] = []
        self._paths: dict[str, str] = {}

    def edit(
        self,
        question: str,
        answer: str,
        image: str = "",
        *,
        subject: str = "",
        relation: str = "",
        truths: tuple[str, ...] = (),
        accepted: tuple[str, ...] = (),
        source: str = "",
    ) -> None:
        """Begin an edit: a worded question with the picture of a field ('': none) and its answer from now on."""
        self._close()
        query = Query(question, self.picture(image) if image else None)
        kind = "generic" if query.image else "text"
        self._edit = Edit("", query, answer, subject, relation, source or self._source, None, kind)
        self._truths = tuple(truth for truth in truths if truth.strip())
        if accepted:
            self.probe("reliability", "edit", question, (answer, *accepted), image)

    def probe(
        self,
        axis: Axis,
        variant: str,
        question: str,
        answers: tuple[str, ...],
        image: str = "",
        *,
        hops: int = 0,
        reference: Reference = "target",
    ) -> None:
        """Ask a worded question of the edit that was begun, with the picture of a field ('': none)."""
        if self._edit is None:
            return
        query = Query(question, self.picture(image) if image else None)
        modality = modality_of(axis, query, self._edit.query)
        target, accepted = answers[0], answers[1:]
        self._probes.append(Probe("", "", axis, variant, modality, query, target, reference, accepted, hops))

    def question(self, name: str, template: str) -> str:
        """Return the question of a field in the words of a template."""
        asked = self.fields.text(name, asked=True)
        return template.replace(BLANK, asked, 1)

    def picture(self, name: str) -> ImageRef | None:
        """Return the reference of the picture that a field names, None with the problem noted."""
        relative = self.fields.text(name)
        if not relative.strip():
            return None
        if relative not in self._pictures:
            try:
                self._pictures[relative] = named_ref(self._root, relative)
            except ImageError as error:
                self._pictures[relative] = error
        found = self._pictures[relative]
        if isinstance(found, ImageError):
            self.fields.note(name, f"{found}")
            return None
        self._paths[name] = found.uri.partition(":")[2]
        return found

    # What nearly all benchmarks have

    def rephrased(self, name: str, image: str = "", *, variant: str = "rephrase") -> None:
        """Ask the edit's question in the words of a field, with its own picture (T-Gen)."""
        if self._edit is not None:
            self.probe("generality", variant, self.question(name, self.template.edit), (self._edit.target,), image)

    def rendered(self, question: str, image: str) -> None:
        """Ask the edit's question with the picture of a field (M-Gen)."""
        if self._edit is not None:
            self.probe(
                "generality", "image", self.question(question, self.template.edit), (self._edit.target,), image
            )

    def text_locality(self, question: str, answer: str) -> None:
        """Ask something unrelated without a picture (T-Loc): it should be answered as before."""
        worded = self.question(question, self.template.text)
        self.probe("locality", "text", worded, self.fields.answers(answer), reference="baseline")

    def image_locality(self, image: str, question: str, answer: str) -> None:
        """Ask something unrelated about another picture (M-Loc): it should be answered as before."""
        worded = self.question(question, self.template.other)
        self.probe("locality", "image", worded, self.fields.answers(answer), image, reference="baseline")

    def five(self, *, truths: tuple[str, ...] = (), subject: str = "", relation: str = "") -> None:
        """Read the eleven fields of MMEdit, which VLKEB, CCKEB and MMKE-Bench have, too: an edit and four probes."""
        target, *accepted = self.fields.answers("alt")
        worded = self.question("src", self.template.edit)
        self.edit(
            worded, target, "image", subject=subject, relation=relation, truths=truths, accepted=tuple(accepted)
        )
        self.rephrased("rephrase", "image")
        self.rendered("src", "image_rephrase")
        self.text_locality("loc", "loc_ans")
        self.image_locality("m_loc", "m_loc_q", "m_loc_a")

    def follow_up(self, also: tuple[str, ...] = ()) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return type, worded question and answers of each entry of `port_new`, as VLKEB and those after it have it.

        Types are 1-hop to 4-hop and those given `also`; the one-hop file of VLKEB has `port_q` and `port_a` instead.
        """
        found = []
        for port in self.fields.objects("port_new"):
            if port.given("port_q"):
                kind, told, question, answer = "1-hop", port, "port_q", "port_a"
            else:
                kind, told = port.choice("port_type", (*HOP_KINDS, *also)), port.field("Q&A")
                question, answer = "Question", "Answer"
            if told is None:
                port.note("Q&A", "it is missing; expected an object with Question and Answer.")
                continue
            worded = self.template.edit.replace(BLANK, told.text(question, asked=True), 1)
            found.append((kind, worded, told.answers(answer)))
        return found

    def one_hop(self) -> None:
        """Ask what the object `portability` of text-only files has, if there is one."""
        port = self.fields.field("portability")
        if port is not None and port.given("New Question"):
            worded = self.template.edit.replace(BLANK, port.text("New Question", asked=True), 1)
            self.probe("portability", "1-hop", worded, port.answers("New Answer"), hops=1)

    def drafts(self) -> list[Pictured]:
        """Return the edits that were gathered, called once the record is read to its end."""
        self._close()
        return self._drafts

    def _close(self) -> None:
        if self._edit is None:
            return
        given = [probe for probe in self._probes if probe.axis == "reliability"]
        if given and all(probe.query != self._edit.query for probe in given):  # its own question is asked as well
            modality = modality_of("reliability", self._edit.query, self._edit.query)
            own = Probe("", "", "reliability", "edit", modality, self._edit.query, self._edit.target)
            self._probes.insert(0, own)
        draft = Draft(self._place, "edit", self._edit, frozenset(), tuple(self._probes), self._truths)
        self._drafts.append(Pictured(draft, self._root, tuple(self._paths.items()), self._text))
        self._edit, self._probes, self._paths = None, [], {}


def folder_of(path: str) -> str:
    """Return the folder that a picture lies in: files of one entity share one ('' without any).

    >>> folder_of("m.010bxh/bing_0.jpg"), folder_of("a.jpg")
    ('m.010bxh', '')
    """
    return path.rpartition("/")[0]
