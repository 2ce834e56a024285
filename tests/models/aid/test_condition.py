"""DQFormer: what a frame's tokens depend on."""

import pytest
import torch

from models.aid import AID
from models.aid.condition import Concatenated, DecomposedBranch, Sizes
from models.streams import Streams
from tests.tolerance import network_bound

SIZES = Sizes(text=6, visual=5, out=16, frames=4)


def inputs(states: int = 2) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    return drawn(2, 3, 6), drawn(2, states, 3, 6) if states else None, drawn(2, 7, 5)


def built(kind: object, *, states: bool = True) -> torch.nn.Module:
    torch.manual_seed(0)
    module = AID().edit({"condition": kind}).condition.build(SIZES, states=states)
    assert module is not None
    for name, part in module.named_modules():
        if isinstance(part, DecomposedBranch):
            part.draw(Streams(0), name)
    return module.double()


@pytest.mark.parametrize(
    ("kind", "tokens"), [("both", 3 + 8), ("upper", 3), ("lower", 8), ("mean", 3 + 8), ("text", 3)]
)
@pytest.mark.parametrize("frames", [2, 4, 9])
def test_every_frame_gets_its_tokens(kind: str, tokens: int, frames: int) -> None:
    assert built(kind)(*inputs(), frames).shape == (2, frames, tokens, 16)


@pytest.mark.parametrize("queries", [1, 4, 8, 16])
def test_the_number_of_queries_is_the_number_of_tokens(queries: int) -> None:
    assert built({"kind": "lower", "queries": queries})(*inputs(), 4).shape == (2, 4, queries, 16)


def test_permuted_queries_permute_the_frames() -> None:
    module = built("both")
    before = module(*inputs(), 4)
    lower = module.branches["lower"]
    order = [2, 0, 3, 1]
    with torch.no_grad():
        lower.queries.copy_(lower.queries[order].clone())
    after = module(*inputs(), 4)
    atol = network_bound(module, size=float(before.detach().abs().max()))
    torch.testing.assert_close(after[:, :, 3:], before[:, order, 3:], rtol=0, atol=atol)
    assert torch.equal(after[:, :, :3], before[:, :, :3]), "the upper branch is the same for all frames"
    assert not torch.equal(before[:, 0, 3:], before[:, 1, 3:])


def test_queries_of_a_frame_see_no_other_frame_s() -> None:
    module = built("lower")
    (queries,) = [part.queries for part in module.modules() if isinstance(part, DecomposedBranch)]
    for frame in range(4):
        (gradient,) = torch.autograd.grad(module(*inputs(), 4)[:, frame].square().sum(), queries)
        assert [bool(row.any()) for row in gradient] == [i == frame for i in range(4)]


def test_the_mean_has_the_same_tokens_for_every_frame() -> None:
    tokens = built("mean")(*inputs(), 4)
    assert all(torch.equal(tokens[:, 0], tokens[:, frame]) for frame in range(4))
    both = built("both")(*inputs(), 4)[:, :, 3:].mean(dim=1)
    torch.testing.assert_close(tokens[:, 0, 3:], both, rtol=0, atol=network_bound(built("mean")))


@pytest.mark.parametrize(
    ("kind", "reads"),
    [("both", (True, True, True)), ("upper", (True, False, True)), ("lower", (True, True, False)),
     ("mean", (True, True, True)), ("text", (True, False, False))],
)  # fmt: skip
def test_what_a_kind_reads(kind: str, reads: tuple[bool, bool, bool]) -> None:
    given = [values.requires_grad_(True) for values in inputs() if values is not None]
    found = torch.autograd.grad(built(kind)(*given, 4).square().sum(), given, allow_unused=True)
    assert tuple(gradient is not None and bool(gradient.any()) for gradient in found) == reads


def test_without_states_the_lower_branch_ends_after_the_instruction() -> None:
    with_states, without = built("lower"), built("lower", states=False)
    assert isinstance(with_states, Concatenated)
    left = {name for name, _ in with_states.named_parameters()} - {name for name, _ in without.named_parameters()}
    assert left
    assert all(name.startswith("branches.lower.states.") for name in left)
    text, _, visual = inputs(0)
    assert without(text, None, visual, 4).shape == (2, 4, 8, 16)


def test_copies_of_a_state_are_one_state() -> None:
    module, (text, _, visual) = built("lower"), inputs()
    one = module(text, text[:, None], visual, 4)
    four = module(text, text[:, None].expand(-1, 4, -1, -1), visual, 4)
    torch.testing.assert_close(four, one, rtol=0, atol=network_bound(module, size=float(one.detach().abs().max())))


def test_queries_of_other_numbers_of_frames_lie_between_their_own() -> None:
    lower = next(part for part in built("lower").modules() if isinstance(part, DecomposedBranch))
    own = lower.queries.detach()
    rows = lower._rows(7).detach()
    atol = network_bound(lower)
    torch.testing.assert_close(rows[[0, 2, 4, 6]], own, rtol=0, atol=atol)
    torch.testing.assert_close(rows[1], (own[0] + own[1]) / 2, rtol=0, atol=atol)


def test_queries_are_drawn_by_seed_and_name() -> None:
    def queries(seed: int, name: str) -> torch.Tensor:
        branch = DecomposedBranch(SIZES, num_queries=2, states=True, num_layers=1, num_heads=8)
        branch.draw(Streams(seed), name)
        return branch.queries.detach()

    assert torch.equal(queries(0, "a"), queries(0, "a"))
    assert not torch.equal(queries(0, "a"), queries(1, "a"))
    assert not torch.equal(queries(0, "a"), queries(0, "b"))


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide 16 channels of the condition"):
        built({"kind": "both", "num_heads": 3})


def test_layers_add_up() -> None:
    def count(layers: int) -> int:
        return sum(weight.numel() for weight in built({"kind": "both", "num_layers": layers}).parameters())

    assert count(3) - count(2) == count(2) - count(1) > 0
