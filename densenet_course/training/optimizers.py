"""What updates the weights: SGD with Nesterov momentum, Adam, or Muon, which makes steps of convolutions orthogonal."""

import inspect
import sys
from collections import defaultdict

import torch
from torch.nn.utils.rnn import pad_sequence


def _lean(method, *arguments):
    """Call a method of PyTorch's optimizers, without its decorators unless torch.compile is loaded already.

    The decorators tell torch.compile what not to look at, and import it for that: thousands of modules, seconds before
    the first step.
    """
    return (method if "torch._dynamo" in sys.modules else inspect.unwrap(method))(*arguments)


class Lean:
    """What an optimizer of PyTorch's is mixed with so that it trains without importing torch.compile."""

    def add_param_group(self, group):
        _lean(torch.optim.Optimizer.add_param_group, self, group)

    def zero_grad(self, set_to_none=True):
        _lean(torch.optim.Optimizer.zero_grad, self, set_to_none)

    def state_dict(self):
        return _lean(torch.optim.Optimizer.state_dict, self)

    def load_state_dict(self, state):
        _lean(torch.optim.Optimizer.load_state_dict, self, state)


class SGD(Lean, torch.optim.SGD):
    """PyTorch's SGD."""

    @torch.no_grad()
    def step(self, closure=None):
        return _lean(torch.optim.SGD.step, self, closure)


class AdamW(Lean, torch.optim.AdamW):
    """PyTorch's AdamW."""

    @torch.no_grad()
    def step(self, closure=None):
        return _lean(torch.optim.AdamW.step, self, closure)


def decay_groups(parameters, weight_decay):
    """Split parameters: convolutions and linear weights decay; BatchNorm's γ and β and biases do not."""
    trained = [p for p in parameters if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model, *, peak_rate, momentum=0.9, weight_decay=5e-4):
    """Build SGD with Nesterov momentum that decays convolutions and linear weights only, not BN's γ and β nor biases.

    Source: Huang et al. 2017, section 4.2.
    """
    groups = decay_groups(model.parameters(), weight_decay)
    return SGD(groups, lr=peak_rate, momentum=momentum, nesterov=momentum > 0)


def orthogonalise(matrix, steps=5):
    """Make all singular values of a matrix about 1, and keep its singular vectors.

    A polynomial is applied to the singular values again and again (Newton–Schulz); it needs matrix products only.
    Five steps bring values of more than a hundredth of the norm into 0.68 … 1.14.

    Args:
        matrix: (R, C) float, or (…, R, C) for many at once.
        steps: how often the polynomial is applied.

    Returns:
        The same shape, new.

    Source: Jordan 2024, Muon: a fixed step count and these coefficients.
    """
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    wide = matrix.mT if is_tall else matrix
    wide = wide / (torch.linalg.matrix_norm(wide, keepdim=True) + 1e-7)  # no singular value above 1
    for _ in range(steps):
        square = wide @ wide.mT
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    return wide.mT if is_tall else wide


def orthogonalise_all(matrices):
    """Apply ``orthogonalise`` to a list of (R, C) matrices, in few calls: small products are mostly overhead.

    Those with equally many rows form one batch, with zeros at the end of the shorter rows; a zero column stays zero and
    changes no singular value.
    """
    is_tall = [rows > columns for rows, columns in (matrix.shape for matrix in matrices)]
    tall = [matrix if is_so else matrix.T for matrix, is_so in zip(matrices, is_tall, strict=True)]
    batches = defaultdict(list)
    for i, matrix in enumerate(tall):
        batches[matrix.shape[1]].append(i)
    found = [None] * len(matrices)
    for indices in batches.values():
        batch = orthogonalise(pad_sequence([tall[i] for i in indices], batch_first=True))  # (B, longest, short)
        for i, matrix in zip(indices, batch, strict=True):
            matrix = matrix[:len(tall[i])]
            found[i] = matrix if is_tall[i] else matrix.T
    return found


class Muon(SGD):
    """SGD with Nesterov momentum; in groups with ``orthogonal=True`` each step is made orthogonal first.

    ``torch.optim.Muon`` takes matrices only. Here a convolution's weight (O, I, kh, kw) is the matrix (O, I·kh·kw).

    Args:
        groups: dicts as for SGD, each with "orthogonal" besides.
        lr, momentum: as for SGD.
    """

    def __init__(self, groups, *, lr, momentum):
        super().__init__(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        set_aside = []  # SGD leaves alone what has no gradient
        for group in self.param_groups:
            if group["orthogonal"]:
                trained = [p for p in group["params"] if p.grad is not None]
                self._orthogonal_step(trained, lr=group["lr"], momentum=group["momentum"])
                for p in trained:
                    set_aside.append((p, p.grad))
                    p.grad = None
        super().step()
        for p, grad in set_aside:
            p.grad = grad
        return loss

    def _orthogonal_step(self, parameters, *, lr, momentum):
        directions = []
        for p in parameters:
            if "velocity" not in self.state[p]:
                self.state[p]["velocity"] = torch.zeros_like(p)
            velocity = self.state[p]["velocity"].mul_(momentum).add_(p.grad)
            directions.append(p.grad.add(velocity, alpha=momentum).flatten(1))  # (O, I·kh·kw)
        for p, direction in zip(parameters, orthogonalise_all(directions), strict=True):
            rows, columns = direction.shape
            p.sub_(direction.reshape(p.shape), alpha=lr * max(1, rows / columns) ** 0.5)


def make_muon(model, *, peak_rate, momentum=0.9, weight_decay=5e-4, orthogonal_momentum=0.95):
    """Build Muon for all convolutions but the first; SGD, as ``make_optimizer`` builds it, for everything else.

    An orthogonal step has the same length whatever the gradient, so it has a rate of its own: a tenth of the peak
    rate. It comes without weight decay, and by default with momentum 0.95, as Jordan has it.
    """
    inner = [p for p in model.parameters() if p.ndim == 4][1:]
    ids = {id(p) for p in inner}
    groups = [
        {"params": [p for p in inner if p.requires_grad], "orthogonal": True, "lr": peak_rate / 10,
         "momentum": orthogonal_momentum, "weight_decay": 0.0},
        *(group | {"orthogonal": False}
          for group in decay_groups((p for p in model.parameters() if id(p) not in ids), weight_decay)),
    ]
    return Muon([group for group in groups if group["params"]], lr=peak_rate, momentum=momentum)


def make_adam(model, *, peak_rate, momentum=0.9, weight_decay=5e-4):
    """Build Adam with decoupled weight decay (AdamW), on the same weights as ``make_optimizer``.

    Its steps are about as long as the learning rate, whatever the gradient: a good peak rate is far smaller than SGD's.

    Source: Kingma and Ba 2015; Loshchilov and Hutter 2019.
    """
    return AdamW(decay_groups(model.parameters(), weight_decay), lr=peak_rate, betas=(momentum, 0.999))


OPTIMIZERS = {"sgd": make_optimizer, "muon": make_muon, "adam": make_adam}


def optimizer_for(model, recipe):
    """Build the optimizer that a ``Recipe`` asks for.

    Raises:
        ValueError: there is none of this name.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {recipe.optimizer!r}")
    options = {"peak_rate": recipe.peak_rate, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "muon":
        options["orthogonal_momentum"] = recipe.orthogonal_momentum
    return OPTIMIZERS[recipe.optimizer](model, **options)
