"""UniKE: trained neurons and a latent in-context memory that share one view of truth (Pan et al., arXiv 2409.19872).

Knows edits, queries, banks and the model's hooks; nothing of probes, clocks or panels. It does not route: neurons and
memory meet every query, and what they leave alone they leave alone by training and by a small alpha. The neurons are
those of `lifelong.editing.patches`; the memory is in `latent`, the encoders in `encoders`, `fit` in `train`,
pictures of the two spaces in `spaces`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editing.contract import Answerer, CollapseError, Editor, EditorOptions, Route, State
from lifelong.editing.facts.statement import StatedFact, after
from lifelong.editing.ops import edit_generator
from lifelong.editing.patches.neurons import Patches, Site, patched
from lifelong.editing.patches.taps import silent_states
from lifelong.editing.patches.training import teach
from lifelong.editing.questions import EditedQuestions
from lifelong.editing.settled import unused
from lifelong.editing.spaces import HasSpaces, Space
from lifelong.editors.unike import train
from lifelong.editors.unike.latent import LatentMemory
from lifelong.editors.unike.options import FIT, UnikeOptions
from lifelong.editors.unike.reading import MemoryReader, Reading
from streams.types import Edit, Pool, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

__all__ = ["Unike", "UnikeOptions"]


class Unike(Editor, HasSpaces):
    """Intrinsic and external knowledge unified in the latent space (arXiv 2409.19872).

    An expert is 10 neurons in the FFN of each of the last four layers, FFN(q) + o (V + beta zeta') with o = act(q K +
    b) and zeta' = W zeta, W learnt with them, trained as T-Patcher's are (arXiv 2301.09785), one neuron after another
    for the positions that predict the answer. The external part: of a memory of pairs (state at a question's end,
    state at its answer's end) the 40 nearest by cosine are read by attention, and a layer's attention output becomes
    (1 - alpha) h + alpha h_know, alpha = cos(Enc_sem(h_know), h) at the last prompt token: the paper's text, which
    its Eq. 7 prints with exchanged weights. No routing. `fit` makes the memory (question, true answer, the model's
    own wrong one), trains one semantic and one truthfulness encoder a layer contrastively, and takes zeta = mean
    Enc_tru(h_pos) - mean Enc_tru(h_neg).
    Memory per edit: 4 layers x (10 (3 width + 1) + 2 width) floats. A query costs, a layer and token, 2 n width
    multiplications for n neurons and 2 k width for the attention, and one search of (memory + N) width per layer.
    Deviations. The 40 picked and alpha come from the frozen model's states, so they are the same at every decode step
    and whatever was edited; what attends is the state as it is. Alpha is never below 0, so that an irrelevant memory
    is left out, not subtracted. Edits join the memory (`remember`): without it the external part cannot know a new
    target, and the published reliability of "latent IKE only" says that it does. Nothing acts before the first edit.
    Attention has one head, no projections and 1 / sqrt(width); h_know gets the length of the attention output it is
    mixed with (the released code makes both unit vectors): states of the residual stream are tens of times longer,
    and mixed as they are they leave no answer alone (modal locality .06 instead of .96). New neurons have no gate;
    their training goes on until they fire on few stored states (`stop_leak`, not in the paper), which costs steps and
    saves locality. A newer edit of a question drops the older one's neurons and memory (`supersede="keep"`: not, as
    published). The released code never mixes, patches two layers and overwrites the values; it is not followed.
    """

    Options = UnikeOptions
    searched = {
        "alpha": (None, 0.0, 0.03, 0.1, 0.2, 0.4),
        "memory_weight": (0.1, 0.3, 1.0, 5.0, 20.0),
        "learning_rate": (1e-3, 3e-3, 1e-2, 3e-2),
    }
    published = {"stop_leak": 1.0, "supersede": "keep"}
    routed = False
    removes = True
    replaces = True
    trains = True
    options: UnikeOptions

    def __init__(self, vlm: VLM, options: UnikeOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        if vlm.layers < 2:
            raise ValueError(f"unike needs a model of at least 2 decoder layers; this one has {vlm.layers}.")
        self.layers = list(range(max(1, vlm.layers - o.layers), vlm.layers))
        self.from_layer = self.layers[0] - 1  # its output is what the first patched layer's memory is read with
        self.sites = [
            Site(
                vlm.submodule(i, o.module),
                Patches(vlm.width, vlm.width, o.activation, device=vlm.device),
                torch.zeros(0, vlm.width, device=vlm.device),
            )
            for i in self.layers
        ]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.memories = [LatentMemory(vlm.width, o.inner) for _ in self.layers]
        self.directions: list[dict[str, Tensor]] = []
        self.demonstrations: list[StatedFact] = []
        self.facts: dict[str, StatedFact] = {}
        self.questions = EditedQuestions()
        self.reader = MemoryReader(
            vlm, self.layers, self.memories, states=o.states, alpha=o.alpha, attention=o.attention
        )

    # What fit learns

    def fit(self, pool: Pool) -> None:
        """Make the memory, train the encoders, take the directions, and collect states to be silent on."""
        found = train.triplets(self.vlm, pool, self.options.memory, seed=self.seed)
        self.directions = train.fit_memories(
            self.vlm, self.layers, self.memories, found, self.options, seed=self.seed, unfinished=self.unfinished
        )
        self.demonstrations = [StatedFact(t.query.prompt, t.true) for t in found]
        if self.options.silent:
            asked = [(p.query, p.target) for item in pool.items for p in item.probes]
            modules = [site.module for site in self.sites]
            states = silent_states(self.vlm, modules, asked, self.options.silent, others=1, seed=self.seed)
            pairs = zip(self.sites, states, strict=True)
            self.sites = [Site(site.module, site.patches, s) for site, s in pairs]
        self.load_fitted(self.fitted())  # in half precision, as it is kept

    @classmethod
    def settles(cls, options: UnikeOptions, vlm: VLM) -> UnikeOptions:
        """Return the options without those of a part that does not act."""
        off = set()
        if not options.intrinsic:
            off |= {"pairs", "zeta", "beta", "learning_rate", "steps", "check_every", "stop_loss", "stop_leak"}
            off |= {"activation", "scale", "activation_weight", "memory_weight"}
        if options.external == "none":
            off |= {"remember"}
        if options.external != "latent":
            off |= {"states", "alpha"}
        if options.external != "in-context":
            off |= {"demonstrations", "template"}
        if options.zeta == "none":
            off |= {"beta"}
        return unused(super().settles(options, vlm), off)

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return the options that decide what `fit` learns; all ablations share one fit."""
        return options.model_dump(mode="json", include=FIT)

    def fitted(self) -> State:
        """Return memory, encoders, directions and silent states of each layer, in half precision."""
        tensors: dict[str, Tensor] = {}
        for i, (memory, site) in enumerate(zip(self.memories, self.sites, strict=True)):
            kept = {"sem": memory.h_sem, "pos": memory.h_pos, "silent": site.silent}
            kept |= self.directions[i] if self.directions else {}
            tensors |= {f"{i}/{name}": t.half().contiguous().cpu() for name, t in kept.items()}
            tensors |= train.parts_of(f"{i}/enc_sem", memory.semantic)
            tensors |= train.parts_of(f"{i}/enc_tru", memory.truthful)
        return State(tensors, {"demonstrations": [[f.question, f.answer] for f in self.demonstrations]})

    def load_fitted(self, state: State) -> None:
        """Take over what an equal `fit` learnt."""
        t = {name: tensor.float() for name, tensor in state.tensors.items()}
        for i, memory in enumerate(self.memories):
            for part, module in (("enc_sem", memory.semantic), ("enc_tru", memory.truthful)):
                mark = f"{i}/{part}/"
                module.load_state_dict({n.removeprefix(mark): w for n, w in t.items() if n.startswith(mark)})
            memory.learn(t[f"{i}/sem"], t[f"{i}/pos"])
        self.sites = [
            Site(s.module, s.patches, t[f"{i}/silent"].to(self.vlm.device)) for i, s in enumerate(self.sites)
        ]
        learnt = [i for i in range(len(self.layers)) if f"{i}/truthful" in t]
        self.directions = [{name: t[f"{i}/{name}"] for name in ("truthful", "semantic")} for i in learnt]
        self.demonstrations = [StatedFact(question, answer) for question, answer in state.meta["demonstrations"]]

    def spaces(self, pool: Pool) -> Sequence[Space]:
        """Return the semantic and the truthfulness space of the last patched layer, by t-SNE as in the paper."""
        from lifelong.editors.unike import spaces

        return spaces.spaces(self.vlm, self.layers[-1], self.memories[-1], pool)

    # Editing

    def edit(self, edits: Sequence[Edit]) -> None:
        """Remember each edit and train its neurons; raises `NotFiniteError`, storing nothing, on a non-finite one."""
        for edit in edits:
            if edit.id in self.facts:
                raise ValueError(f"Edit {edit.id!r} is stored already; withdraw it first.")
            older = self.questions.older(edit) if self.options.supersede == "replace" else []
            before = self.state() if older else None
            self._forget(older)
            self._remember(edit)
            try:
                if self.options.intrinsic:
                    self._teach(edit)
            except CollapseError:
                self._forget([edit.id])
                if before is not None:
                    self.load(before)
                raise
            self.questions.add(edit)
            self.revision += 1

    def _remember(self, edit: Edit) -> None:
        self.facts[edit.id] = StatedFact.of(edit)
        if self.options.remember and self.options.external != "none":
            ends = self.reader.ends([edit.query])
            answers = train.ends_of(self.vlm, self.layers, [edit.query], [edit.target])
            for i, memory in enumerate(self.memories):
                memory.add(edit.id, ends[0, i], answers[i][0])

    def _teach(self, edit: Edit) -> None:
        m = len(self.vlm.target_ids(edit.target))
        asked = self._asked([edit.query])
        reading = self._read([edit.query])
        hidden = self.vlm.hidden(asked, self.from_layer, [edit.target])
        taught = teach(
            self.vlm,
            hidden,
            self.sites,
            lambda right: [j % m for j in range(self.options.pairs)],
            self.options.teaching(),
            edit_generator(self.seed, edit.id),
            what=f"unike, edit {edit.id}",
            around=lambda: self.reader.mixed(reading),
            directions=self._directions(),
        )
        for one in taught:
            one.site.patches.add(edit.id, one.rows)

    def _directions(self) -> list[Tensor | None]:
        """Return zeta of each layer, or nothing where there is none."""
        kind = self.options.zeta
        if kind == "none" or not self.directions:
            return [None] * len(self.layers)
        if kind != "random":
            return [d[kind] for d in self.directions]
        rng = edit_generator(self.seed, "zeta")
        noise = [torch.randn(self.vlm.width, generator=rng) for _ in self.directions]
        return [n / n.norm() * d["truthful"].norm() for n, d in zip(noise, self.directions, strict=True)]

    # Answering

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with all neurons and what each query reads in the memory."""
        if not self.facts:
            yield self.vlm.answerer(queries)
            return
        asked, reading = self._asked(queries), self._read(queries)
        with self.reader.mixed(reading), patched(self.vlm, self.sites):
            yield self.vlm.answerer(asked, from_layer=self.from_layer)

    def _read(self, queries: Sequence[Query]) -> list[Reading]:
        mixes = self.options.external == "latent" and self.options.alpha != 0  # a share of nothing is not read
        return self.reader.read(queries) if mixes else []

    def _asked(self, queries: Sequence[Query]) -> list[Query | Prompt]:
        """Return the queries, with the nearest facts before them where the external part is in the prompt."""
        if self.options.external != "in-context":
            return list(queries)
        first, asked = self.memories[0], []
        known, nearest = len(first.pool), first.pick(self.reader.ends(queries)[:, 0], self.options.demonstrations)
        for query, picked in zip(queries, nearest, strict=True):
            own = first.edits.ids_of(np.where(picked >= known, picked - known, -1))
            facts = [
                self.facts[own[j]] if own[j] else self.demonstrations[row] for j, row in enumerate(picked) if row >= 0
            ]
            said = [f.said(self.options.template) for f in reversed(facts)]  # the nearest last
            asked.append(after(said, query))
        return asked

    # State

    def remove(self, ids: Sequence[str]) -> None:
        """Drop the neurons and memories of edits; unknown ones are passed over."""
        self._forget(ids)
        self.revision += 1

    def _forget(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        self.questions.drop(ids)
        for edit_id in ids:
            self.facts.pop(edit_id, None)
        for site, memory in zip(self.sites, self.memories, strict=True):
            site.patches.remove(ids)
            memory.edits.remove([i for i in ids if i in memory.edits])

    def acts_on(self) -> Sequence[str]:
        """Return the names of the patched modules."""
        return [self.vlm.name_of_module(site.module) for site in self.sites]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of neurons and memories for each edit, without its words."""
        o, width = self.options, self.vlm.width
        neurons = o.pairs * (3 * width + 1) if o.intrinsic else 0
        known = 2 * width if o.remember and o.external != "none" else 0
        return 4 * edits * len(self.layers) * (neurons + known)

    def nbytes(self) -> int:
        """Return the bytes of all neurons, remembered edits and their words (the pool's memory does not grow)."""
        states = sum(s.patches.nbytes() for s in self.sites) + sum(m.edits.nbytes() for m in self.memories)
        return states + sum(f.nbytes() for f in self.facts.values())

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self.facts)

    def mark(self) -> Hashable:
        """Return the revision, which every stored or dropped edit raises."""
        return self.revision, self.bank_len()

    def state(self) -> State:
        """Return neurons, remembered edits, their words and questions."""
        facts = [[edit_id, f.question, f.answer] for edit_id, f in self.facts.items()]
        layers = {
            str(i): State.joined(patches=site.patches.state(), edits=memory.edits.state())
            for i, (site, memory) in enumerate(zip(self.sites, self.memories, strict=True))
        }
        meta = {"revision": self.revision, "facts": facts, "questions": self.questions.table()}
        return State.joined(meta, **layers)

    def load(self, state: State) -> None:
        """Go on from a state."""
        super().load(state)
        for i, (site, memory) in enumerate(zip(self.sites, self.memories, strict=True)):
            layer = state.part(str(i))
            site.patches.load(layer.part("patches"))
            memory.edits.load(layer.part("edits"))
        self.facts = {edit_id: StatedFact(question, answer) for edit_id, question, answer in state.meta["facts"]}
        self.questions.load(state.meta["questions"])
