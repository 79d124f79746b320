import pytest
import torch

from train.model.optimizers import Muon, newton_schulz


def test_an_orthogonal_matrix_is_near_the_polar_factor():
    matrix = torch.randn(1, 24, 60, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix[0], full_matrices=False)
    found = newton_schulz(matrix)[0].float()
    assert found.shape == (24, 60)
    assert torch.linalg.svdvals(found).min() > 0.6 and torch.linalg.svdvals(found).max() < 1.3
    # same left and right singular vectors: what is left of them is a diagonal
    turned = u.T @ found @ v.T
    assert (turned - turned.diag().diag()).abs().max() < 0.05


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_neither_the_size_of_a_matrix_nor_which_side_is_longer_matters(size):
    matrix = torch.randn(1, 12, 40, generator=torch.Generator().manual_seed(5))
    found = newton_schulz(matrix).float()
    assert torch.allclose(newton_schulz(matrix * size).float(), found, atol=0.03)
    assert torch.allclose(newton_schulz(matrix.mT * size).float(), found.mT, atol=0.03)


def test_rare_directions_move_as_far_as_frequent_ones():
    weight = torch.zeros(3, 3, requires_grad=True)
    weight.grad = torch.diag(torch.tensor([1.0, 0.3, 0.1]))
    Muon([weight], lr=1.0).step()
    moves = weight.detach().diag().abs()
    assert moves.max() / moves.min() < 2


def test_a_zero_matrix_stays_zero():
    assert torch.equal(newton_schulz(torch.zeros(2, 3, 4)).float(), torch.zeros(2, 3, 4))


def test_matrices_of_one_stack_do_not_touch_each_other():
    stack = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([newton_schulz(one[None]) for one in stack])
    assert torch.allclose(newton_schulz(stack).float(), alone.float(), atol=0.02)


def test_a_first_step_has_the_size_of_adamw_s_in_every_direction():
    weight = torch.zeros(64, 16, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    Muon([weight], lr=0.01).step()
    # rows x columns with singular values about 1: each number about 1 / sqrt(max side),
    # times 0.2 sqrt(max side) times the rate
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.15)
    assert (weight.detach() * weight.grad).sum() < 0


def test_kernels_are_moved_alike_however_they_lie_in_memory():
    gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = torch.zeros(8, 4, 3, 3).to(memory_format=layout).requires_grad_()
        weight.grad = gradient.clone(memory_format=layout)
        optimizer = Muon([weight], lr=0.1)
        optimizer.step()
        optimizer.step()
        moved.append(weight.detach())
    assert torch.allclose(moved[0], moved[1], atol=1e-4)


def test_weight_decay_pulls_towards_zero_and_weights_without_gradient_stay():
    pulled, still = torch.ones(4, 4, requires_grad=True), torch.ones(4, 4, requires_grad=True)
    pulled.grad = torch.zeros(4, 4)
    Muon([pulled, still], lr=0.5, weight_decay=0.1).step()
    assert torch.allclose(pulled.detach(), torch.full((4, 4), 0.95))
    assert torch.equal(still.detach(), torch.ones(4, 4))


@pytest.mark.parametrize(
    ("weight", "wrong"),
    [(torch.zeros(3), {}), (torch.zeros(3, 3), {"momentum": 1.0}), (torch.zeros(3, 3), {"lr": -1})],
)
def test_what_cannot_work_is_refused(weight, wrong):
    with pytest.raises(ValueError):
        Muon([weight], **{"lr": 0.1, **wrong})
