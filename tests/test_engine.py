"""The engines of a causal stage give what the plain forward pass gives, only faster."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rapgen.generation import torch_engine
from rapgen.generation.engine import make_engine
from rapgen.generation.graph import BLOCK, quantize
from rapgen.generation.onnx_engine import OnnxEngine
from rapgen.generation.sampling import draw, guide
from rapgen.generation.threads import threads_of_a_step
from rapgen.generation.torch_engine import TorchEngine
from rapgen.interfaces import TokenSpec
from rapgen.models.patterns import PAD
from rapgen.models.token_lm import TokenLM
from rapgen.schema import Sampling

TARGET = TokenSpec(codebook_size=40, num_codebooks=3, sample_rate=24_000, hop_length=960)
FP32 = 1e-4  # of a logit
INT8 = 0.05  # of the spread of logits: of a random model, the root mean square


def make_model(width: int = 64, layers: int = 2, heads: int = 4, target: TokenSpec = TARGET) -> TokenLM:
    torch.manual_seed(width + layers)
    model = TokenLM(target=target, inputs={}, pattern="delay", width=width, layers=layers, heads=heads)
    return model.eval().requires_grad_(False)


def plain(model: TokenLM, x: Tensor) -> Tensor:
    """Logits f32 [R, L, Q, V] after every position of f32 [R, L, width], by the model's own forward pass."""
    hidden = model.transformer(x)
    return torch.stack([model.logits(hidden, book) for book in range(model.target.num_codebooks)], 2)


@torch.inference_mode()
def stepped(engine: OnnxEngine | TorchEngine, x: Tensor, prefix: int, *, room: int | None = None) -> Tensor:
    """Logits after each position from `prefix` on, step by step, where no token stands before any."""
    target = engine.model.target
    none = torch.full((len(x), target.num_codebooks), PAD, device=x.device)
    beside = x - engine.model.embed_steps(none)[:, None]  # a step adds what it embeds
    noise = torch.zeros(len(x), target.num_codebooks, target.codebook_size, device=x.device)
    steps = engine.begin(len(x), room or x.shape[1], Sampling(guidance_scale=1))
    steps.restart(x[:, :prefix])
    made = []
    for n in range(prefix, x.shape[1]):
        steps.step(none, beside[:, n], noise)
        made.append(steps.logits.clone())
    return torch.stack(made, 1)


@settings(max_examples=15, deadline=None)
@given(
    heads=st.sampled_from([1, 2, 4]),
    head_dim=st.sampled_from([16, 32, 48]),
    layers=st.integers(1, 3),
    rows=st.integers(1, 3),
    prefix=st.integers(0, 9),
)
def test_a_step_is_the_forward_pass(heads: int, head_dim: int, layers: int, rows: int, prefix: int) -> None:
    model = make_model(heads * head_dim, layers, heads)
    x = torch.randn(rows, prefix + 6, model.transformer.width)
    for engine in (OnnxEngine(model, is_quantized=False), TorchEngine(model)):
        torch.testing.assert_close(stepped(engine, x, prefix), plain(model, x)[:, prefix:], atol=FP32, rtol=0)


@pytest.mark.parametrize(("width", "heads"), [(64, 4), (80, 5), (256, 4)])
def test_eight_bits_stay_near(width: int, heads: int) -> None:
    model = make_model(width, 4, heads)
    x = torch.randn(2, 40, width)
    made, exact = stepped(OnnxEngine(model), x, 7), plain(model, x)[:, 7:]
    assert (made - exact).square().mean().sqrt() < INT8 * exact.std()


def test_a_restart_forgets() -> None:
    model = make_model()
    first, then = torch.randn(2, 12, 64), torch.randn(2, 9, 64)
    for engine in (OnnxEngine(model), TorchEngine(model)):
        steps = engine.begin(2, 13, Sampling(guidance_scale=1, temperature=0))
        again = []
        for prefix in (first, then, then):
            steps.restart(prefix)
            steps.step(torch.full((2, 3), PAD), torch.zeros(1, 64), torch.zeros(2, 3, 40))
            again.append(steps.logits.clone())
        assert torch.equal(again[1], again[2])
        assert not torch.equal(again[0], again[1])


@settings(max_examples=30, deadline=None)
@given(
    items=st.integers(1, 3),
    guidance_scale=st.sampled_from([0.0, 1.0, 2.5]),
    temperature=st.sampled_from([0.0, 0.7, 1.3]),
    top_k=st.sampled_from([0, 1, 5, 40, 99]),
)
def test_tokens_are_drawn_from_the_logits(items: int, guidance_scale: float, temperature: float, top_k: int) -> None:
    """By either engine as `guide` and `draw` have it, after tokens that are embedded as the model embeds them."""
    model = make_model()
    sampling = Sampling(guidance_scale=guidance_scale, temperature=temperature, top_k=top_k)
    rows = items * (1 if guidance_scale == 1 else 2)
    prefix, beside = torch.randn(rows, 5, 64), torch.randn(rows, 64)
    before, noise = torch.randint(PAD, 40, (items, 3)), torch.randn(items, 3, 40)
    embedded = model.embed_steps(before).repeat(rows // items, 1) + beside
    exact = plain(model, torch.cat([prefix, embedded[:, None]], 1))[:, -1]
    for engine in (OnnxEngine(model, is_quantized=False), TorchEngine(model)):
        steps = engine.begin(items, 6, sampling)
        with torch.inference_mode():
            steps.restart(prefix)
            tokens = steps.step(before, beside, noise)
        torch.testing.assert_close(steps.logits, exact, atol=FP32, rtol=0)
        assert torch.equal(tokens, draw(guide(steps.logits, guidance_scale), noise, sampling))


def test_rows_do_not_depend_on_each_other() -> None:
    """To rounding: products of several rows sum in another order."""
    model = make_model(256, 3)
    x = torch.randn(5, 20, 256)
    for engine in (OnnxEngine(model), OnnxEngine(model, is_quantized=False), TorchEngine(model)):
        together = stepped(engine, x, 4)
        alone = torch.cat([stepped(engine, row, 4) for row in x.split(1)])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_attention_reads_whole_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU each number of spans is a graph of its own; which it is must not change what comes out."""
    monkeypatch.setattr(torch_engine, "SPAN", 5)
    model = make_model()
    x = torch.randn(2, 23, 64)
    torch.testing.assert_close(stepped(TorchEngine(model), x, 3), plain(model, x)[:, 3:], atol=FP32, rtol=0)


def test_on_a_cpu_onnx_runtime_does_the_work() -> None:
    assert isinstance(make_engine(make_model()), OnnxEngine)
    assert isinstance(make_engine(make_model(heads=8)), TorchEngine)  # heads that ONNX Runtime does not take


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graphs_are_the_forward_pass() -> None:
    model = make_model().cuda()
    x = torch.randn(2, 300, 64, device="cuda")
    made = stepped(make_engine(model), x, 3)
    torch.testing.assert_close(made, plain(model, x)[:, 3:], atol=1e-3, rtol=0)


@given(rows=st.integers(1, 4), width=st.integers(1, 100), scale=st.floats(1e-6, 1e6))
def test_eight_bits_are_the_nearest(rows: int, width: int, scale: float) -> None:
    weight = torch.randn(rows, width).mul(scale).numpy()
    codes, scales = quantize(weight)
    assert codes.shape == (rows, -(-width // BLOCK), BLOCK)
    back = ((codes.astype("f4") - 128) * scales[..., None]).reshape(rows, -1)[:, :width]
    worst = scales.repeat(BLOCK, 1)[:, :width] / 2
    assert (abs(back - weight) <= worst * 1.001).all()


def test_a_weight_of_zeros_is_zeros() -> None:
    codes, _ = quantize(torch.zeros(2, 3).numpy())
    assert (codes == 128).all()


def test_many_codebooks_have_their_places() -> None:
    """Each codebook's logits come from its own table."""
    model = make_model(target=replace(TARGET, num_codebooks=7, codebook_size=11))
    x = torch.randn(1, 4, 64)
    made = stepped(OnnxEngine(model, is_quantized=False), x, 0)
    torch.testing.assert_close(made, plain(model, x), atol=FP32, rtol=0)


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("4,2", 4), ("none", None), ("", None)])
def test_threads_of_a_large_step_are_those_asked_for(monkeypatch: pytest.MonkeyPatch, asked: str, threads: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_of_a_step(10**6) == 1
    assert threads_of_a_step(10**9) == (threads or len(os.sched_getaffinity(0)))


def test_the_rotary_table_is_long_enough_before_a_graph_is_made() -> None:
    """A capture asks for one position more than there is room for; a table that grew meanwhile would be lost to it."""
    model = make_model()
    steps = TorchEngine(model).begin(1, 1025, Sampling(guidance_scale=1))
    table = model.transformer.turn_table(1026, torch.device("cpu"))
    steps._cache.filled = 1024
    steps._cache.position.fill_(1024)
    inputs = torch.full((1, 3), PAD), torch.zeros(1, 64), torch.zeros(1, 3, 40)
    for _ in range(2):
        steps._draw(*inputs)
    assert model.transformer.turn_table(1, torch.device("cpu")) is table
