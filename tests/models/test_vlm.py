"""The model door keeps its promises on a tiny random model of real Hugging Face classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from lifelong.models.passes.layout import Layout, Scored
from lifelong.models.vlm import VLM
from streams.types import ImageRef, Prompt, Query

TARGETS = ["cat", "a big dog", "Nairobi", "x", "reddish brown", "renard", "here"]


def close(a: Sequence[Scored], b: Sequence[Scored], tolerance: float = 1e-5) -> bool:
    """Whether two results have equal argmax and log-probabilities within a tolerance."""
    return len(a) == len(b) and all(
        (x.argmax_ids == y.argmax_ids).all() and np.abs(x.logprobs - y.logprobs).max() <= tolerance
        for x, y in zip(a, b, strict=True)
    )


def count_hooks(vlm: VLM) -> int:
    """How many hooks there are in the whole model."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vlm.model.modules())


def first_ids(vlm: VLM, query: Query, steps: int) -> list[int]:
    """Decode token by token with the plain model, without cache, hooks, batches or padding."""
    encoded = vlm.reader.read([Prompt.of(query)])[0]
    pixels = vlm.reader.vision([Prompt.of(query)], [encoded], fresh=True)
    ids = encoded.ids[None]
    for _ in range(steps):
        with torch.no_grad():
            logits = vlm.model(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], 1)
    return ids[0, len(encoded.ids) :].tolist()


def test_a_batch_equals_batches_of_one(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Law 9: padding and neighbours change nothing; results come in the order of the input."""
    together = tiny_vlm.score(tiny_queries, TARGETS)
    alone = [tiny_vlm.score([q], [t])[0] for q, t in zip(tiny_queries, TARGETS, strict=True)]
    assert close(together, alone)
    assert [len(s.target_ids) for s in together] == [len(t) + 1 for t in TARGETS]
    assert tiny_vlm.generate(tiny_queries) == [tiny_vlm.generate([q])[0] for q in tiny_queries]


def test_scores_are_those_of_the_plain_model(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Cached image features, the gathered head and the masks give the log-probabilities of one plain forward pass."""
    for query, target, scored in zip(tiny_queries, TARGETS, tiny_vlm.score(tiny_queries, TARGETS), strict=True):
        encoded = tiny_vlm.reader.read([Prompt.of(query)])[0]
        pixels = tiny_vlm.reader.vision([Prompt.of(query)], [encoded], fresh=True)
        targets = torch.tensor(tiny_vlm.target_ids(target))
        ids = torch.cat([encoded.ids, targets])[None]
        with torch.no_grad():
            logits = tiny_vlm.model(input_ids=ids, **pixels).logits[0, len(encoded.ids) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].numpy()
        assert np.abs(expected - scored.logprobs).max() < 1e-5


def test_decoding_equals_token_by_token_argmax(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """The key-value cache, the padding and rows that leave early give what the plain model gives step by step."""
    tokenizer = tiny_vlm.tokenizer
    for query, answer in zip(tiny_queries, tiny_vlm.generate(tiny_queries, max_tokens=8), strict=True):
        ids = first_ids(tiny_vlm, query, 8)
        stop = next((i for i, t in enumerate(ids) if t == tiny_vlm.end_id), 8)
        assert answer == tokenizer.decode(ids[:stop], skip_special_tokens=True).split("\n")[0].strip()


def test_an_exact_score_means_that_decoding_gives_the_target(tiny_vlm: VLM) -> None:
    """When every argmax is the target's token and then the end token, decoding is not needed (architecture 5.5)."""
    query = Query("Say it", ImageRef("noise:a", "a"))
    head = tiny_vlm.model.lm_head

    def rig(_: object, args: tuple, output: torch.Tensor, layout: Layout) -> torch.Tensor:
        answer = tiny_vlm.target_ids("ok")
        out = torch.zeros_like(output)
        for i in range(len(out)):
            at = int(layout.last_prompt[i])
            start = at if at >= 0 else -layout.decode_step
            for k in range(out.shape[1]):
                out[i, k, answer[min(max(k - start, 0), len(answer) - 1)]] = 9.0
        return out

    with tiny_vlm.hook(head, rig):
        assert tiny_vlm.score([query], ["ok"])[0].exact
        assert not tiny_vlm.score([query], ["no"])[0].exact
        assert tiny_vlm.generate([query]) == ["ok"]


@pytest.mark.parametrize("layer", range(4))
def test_resuming_equals_the_whole_pass_at_every_layer(tiny_vlm: VLM, tiny_queries: list[Query], layer: int) -> None:
    """Also with a hook above the layer, and with ordered top ids at every position."""
    hidden = tiny_vlm.hidden(tiny_queries, layer, TARGETS)
    whole = tiny_vlm.score(tiny_queries, TARGETS, top=3)
    resumed = tiny_vlm.resume_score(hidden, top=3)
    assert close(whole, resumed)
    assert all((a.top_ids == b.top_ids).all() for a, b in zip(whole, resumed, strict=True))
    with tiny_vlm.hook(tiny_vlm.decoder_layer(3), lambda m, a, out, layout: out + layout.answer[..., None] * 0.5):
        changed = tiny_vlm.score(tiny_queries, TARGETS)
        assert close(changed, tiny_vlm.resume_score(hidden))
    assert not close(changed, whole)


@pytest.mark.parametrize("layer", [0, 2])
def test_gradients_through_resume_equal_those_of_the_whole_pass(
    tiny_vlm: VLM, tiny_queries: list[Query], layer: int
) -> None:
    """An exchanged weight above the layer gets the gradient that a whole pass gives it."""
    weight = tiny_vlm.model.model.language_model.layers[3].mlp.down_proj.weight
    name = tiny_vlm.name_of(weight)
    hidden = tiny_vlm.hidden(tiny_queries[:1], layer, TARGETS[:1])
    new = weight.detach().clone().requires_grad_()
    with tiny_vlm.swap({name: new}):
        logits = tiny_vlm.resume(hidden, grad=True, answers_only=True)[0]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(hidden.target_ids[0]).long())
        loss.backward()
    assert new.grad is not None and weight.grad is None
    step = 1e-2 * new.grad / new.grad.norm()
    with tiny_vlm.swap({name: new.detach() + step}):
        up = tiny_vlm.score(tiny_queries[:1], TARGETS[:1])[0].nll
    with tiny_vlm.swap({name: new.detach() - step}):
        down = tiny_vlm.score(tiny_queries[:1], TARGETS[:1])[0].nll
    assert (up - down) / 2e-2 == pytest.approx(float(new.grad.norm()), rel=0.02)


def test_hooks_are_gone_also_when_the_body_raises(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Law 6: bit for bit the base afterwards, and no hook is left anywhere."""
    before = tiny_vlm.score(tiny_queries, TARGETS)
    hooks = count_hooks(tiny_vlm)  # transformers itself leaves some in the vision tower at the first pass
    with pytest.raises(RuntimeError, match="on purpose"):
        with tiny_vlm.hook(tiny_vlm.decoder_layer(1), lambda m, a, out, layout: out * 2):
            assert not close(before, tiny_vlm.score(tiny_queries, TARGETS))
            raise RuntimeError("on purpose")

    def broken(*_: object) -> None:
        raise RuntimeError("on purpose")

    for call in (lambda: tiny_vlm.score(tiny_queries, TARGETS), lambda: tiny_vlm.generate(tiny_queries)):
        with pytest.raises(RuntimeError, match="on purpose"), tiny_vlm.hook(tiny_vlm.decoder_layer(1), broken):
            call()
    assert tiny_vlm.layout is None and tiny_vlm.unchanged
    assert count_hooks(tiny_vlm) == hooks
    assert not any("forward" in m.__dict__ for m in tiny_vlm.model.modules())
    after = tiny_vlm.score(tiny_queries, TARGETS)
    assert all((a.logprobs == b.logprobs).all() for a, b in zip(before, after, strict=True))


def test_swap_puts_back_the_very_same_tensors(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Law 6 for weights: references are exchanged, nothing is copied, also when the body raises."""
    layer = tiny_vlm.submodule(2, "mlp.up_proj")
    old = layer.weight
    before = tiny_vlm.score(tiny_queries, TARGETS)
    with pytest.raises(RuntimeError), tiny_vlm.swap({tiny_vlm.name_of(old): torch.zeros_like(old)}):  # type: ignore[arg-type]
        assert not close(before, tiny_vlm.score(tiny_queries, TARGETS))
        raise RuntimeError
    assert layer.weight is old
    assert close(before, tiny_vlm.score(tiny_queries, TARGETS), 0.0)


def test_caches_are_passed_by_while_something_below_is_changed(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """A change on the vision side or in a lower layer reaches what is cached, and is gone afterwards."""
    base = tiny_vlm.hidden(tiny_queries, 2, TARGETS)
    projector = tiny_vlm.model.model.multi_modal_projector.linear_2.weight
    lower = tiny_vlm.submodule(0, "mlp.down_proj").weight
    for parameter, changed_rows in ((projector, [0, 1, 3, 4]), (lower, range(7))):
        with tiny_vlm.swap({tiny_vlm.name_of(parameter): parameter * 0.5}):  # type: ignore[arg-type, operator]
            now = tiny_vlm.hidden(tiny_queries, 2, TARGETS)
        differs = [i for i in range(7) if not torch.allclose(base.states[i], now.states[i], atol=1e-4)]
        assert differs == list(changed_rows)
    again = tiny_vlm.hidden(tiny_queries, 2, TARGETS)
    assert all(torch.equal(a, b) for a, b in zip(base.states, again.states, strict=True))


def test_the_layout_says_what_each_token_is(tiny_vlm: VLM) -> None:
    """Masks are disjoint, cover the real tokens, and `rows` are indexes of the answerer's prompts."""
    seen: list[Layout] = []
    queries = [Query("Long question?", ImageRef("noise:a", "a")), Query("Hm"), Query("Hmm")]
    answerer = tiny_vlm.answerer(queries)
    with tiny_vlm.hook(tiny_vlm.decoder_layer(0), lambda m, a, out, layout: seen.append(layout)):
        answerer.score(["ab", "c", "d"])
        tiny_vlm.answerer(queries).generate([2, 0], max_tokens=3)  # one that has scored goes on from there
    forced, prefill, *steps = seen
    assert sorted(forced.rows.tolist()) == [0, 1, 2]
    row = forced.rows.tolist().index(0)
    assert forced.image[row].sum() == 4 and forced.prompt[row].sum() == len("Long question?") + 1
    assert forced.answer[row].sum() == 3 and forced.answer[row].nonzero()[0] == forced.last_prompt[row] + 1
    assert not (forced.image & forced.prompt | forced.prompt & forced.answer).any()
    assert sorted(prefill.rows.tolist()) == [0, 2] and prefill.decode_step == 0 and not prefill.answer.any()
    assert [s.decode_step for s in steps] == [1, 2] and all(s.answer.all() for s in steps)
    assert all(s.answer.shape == (len(s.rows), 1) for s in steps)  # one token of every row at a time
    assert all((s.last_prompt == -1).all() for s in steps)


def test_capture_gives_the_input_of_a_submodule(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """Its output applied by hand equals what a hook sees in a whole pass."""
    module = tiny_vlm.submodule(1, "mlp.down_proj")
    inputs = tiny_vlm.capture(tiny_queries[:1], module, TARGETS[:1])[0]
    seen: list[torch.Tensor] = []
    with tiny_vlm.hook(module, lambda m, a, out, layout: seen.append(out[0])):
        tiny_vlm.score(tiny_queries[:1], TARGETS[:1])
    assert torch.allclose(inputs @ module.weight.T, seen[0], atol=1e-5)  # type: ignore[operator]


def test_several_images_and_texts_in_one_prompt(tiny_vlm: VLM) -> None:
    """A prompt may show several pictures; their order matters."""
    a, b = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
    one, other = tiny_vlm.score([Prompt((a, "and", b, "?")), Prompt((b, "and", a, "?"))], ["x", "x"])
    assert tiny_vlm.reader.read([Prompt((a, "and", b, "?"))])[0].pictures == ("a", "b")
    assert np.abs(one.logprobs - other.logprobs).max() > 1e-4


def test_wrong_names_are_answered_with_near_ones(tiny_vlm: VLM) -> None:
    """Layers, parts, parameters, shapes, targets and dtypes."""
    with pytest.raises(ValueError, match=r"mlp\.down_proj"):
        tiny_vlm.submodule(0, "mlp.down_prj")
    with pytest.raises(ValueError, match="layers 0 to 3"):
        tiny_vlm.decoder_layer(4)
    with pytest.raises(ValueError, match="Did you mean"), tiny_vlm.swap({"lm_hed.weight": torch.zeros(1)}):
        pass
    with pytest.raises(ValueError, match="expected"), tiny_vlm.swap({"lm_head.weight": torch.zeros(1)}):
        pass
    with pytest.raises(ValueError, match="no token"):
        tiny_vlm.target_ids("")
    with pytest.raises(ValueError, match="float32"):
        VLM.load("atlas", dtype="float31")
    with pytest.raises(ValueError, match="one per prompt"):
        tiny_vlm.score([Query("a")], ["x", "y"])


def test_a_model_saved_and_loaded_is_the_same(tiny_vlm: VLM, tmp_path, tiny_queries: list[Query]) -> None:
    """`VLM.load` of a folder answers as the model it was saved from, and its digest follows the content."""
    tiny_vlm.model.save_pretrained(tmp_path)
    tiny_vlm.processor.save_pretrained(tmp_path)
    loaded = VLM.load(str(tmp_path))
    text = [q for q in tiny_queries if q.image is None]
    assert close(loaded.score(text, TARGETS[: len(text)]), tiny_vlm.score(text, TARGETS[: len(text)]))
    assert VLM.load(str(tmp_path)).digest == loaded.digest != VLM.load(str(tmp_path), dtype="bfloat16").digest


def test_the_cache_keeps_its_budget() -> None:
    """What was used longest ago goes first, and a value larger than the budget is not kept."""
    from lifelong.models.cache import ByteCache

    cache = ByteCache(10)
    for key in "abc":
        cache.put(key, key, 4)
        cache.get("a")
    assert cache.used_bytes == 8 and "a" in cache and "b" not in cache and "c" in cache
    cache.put("big", 1, 11)
    assert "big" not in cache and len(cache) == 2


def test_logits_of_token_ids_are_those_of_their_targets(tiny_vlm: VLM, tiny_queries: list[Query]) -> None:
    """With the end token they are the same numbers; neither, both, or a row without a token is an error."""
    ids = [tiny_vlm.target_ids(target) for target in TARGETS]
    by_text, by_ids = tiny_vlm.answer_logits(tiny_queries, TARGETS), tiny_vlm.answer_logits(tiny_queries, ids=ids)
    assert all(torch.equal(a, b) for a, b in zip(by_text, by_ids, strict=True))
    for targets, wrong in ((None, None), (TARGETS, ids), (None, [[], *ids[1:]]), (None, ids[1:])):
        with pytest.raises(ValueError):
            tiny_vlm.answer_logits(tiny_queries, targets, ids=wrong)


def test_the_door_speaks_in_words_and_tokens(tiny_vlm: VLM) -> None:
    """Text comes back from its ids; an answer ends at an end token, which is left out, or at a newline."""
    assert (
        tiny_vlm.text_of(tiny_vlm.target_ids(" Ann")) == "Ann" and tiny_vlm.text_of(tiny_vlm.token_ids("a\nb")) == "a"
    )
    assert [*tiny_vlm.token_ids("Hm"), tiny_vlm.end_id] == tiny_vlm.target_ids("Hm")
    (ids,) = tiny_vlm.prompt_ids([Query("Hm")])
    assert ids.tolist() == tiny_vlm.token_ids("Hm") + [tiny_vlm.special_tokens()["<answer>"]]
    said: list[int] = []
    letter, newline = tiny_vlm.token_ids("a\n")
    assert tiny_vlm.say(said, letter) and not tiny_vlm.say(said, tiny_vlm.end_id) and said == [letter]
    assert not tiny_vlm.say(said, newline) and said == [letter, newline]
