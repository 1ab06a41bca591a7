"""Answers to exercise train_epoch."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.training import loop as training
from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def train(model, batches, optimizer):
    model.train()
    total, count = 0.0, 0
    for images, labels in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        count += len(labels)
    return total / count


@torch.no_grad()
def measure(model, batches):
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    hits, count = 0, 0
    for images, labels in batches:
        hits += (model(images).argmax(1) == labels).sum().item()
        count += len(labels)
    for part, mode in modes:
        part.training = mode
    return hits / count


@right
class plain_loops:
    train_one_epoch, evaluate = train, measure


@right
class zero_grad_after_the_step_and_once_before_with_tensors_returned:
    def train_one_epoch(model, batches, optimizer):
        criterion = nn.CrossEntropyLoss(reduction="none")
        model.train()
        optimizer.zero_grad(set_to_none=False)
        losses = []
        for images, labels in batches:
            each = criterion(model(images), labels)
            each.mean().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            losses.append(each.detach())
        return torch.cat(losses).mean()

    def evaluate(model, batches):
        modes = {name: part.training for name, part in model.named_modules()}
        with torch.inference_mode():
            pairs = [(model.eval()(images), targets) for images, targets in batches]
        for name, part in model.named_modules():
            part.training = modes[name]
        logits, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
        return (logits.max(dim=1).indices == labels).double().mean()


@right
class a_closure_and_a_copy_of_the_model:
    def train_one_epoch(model, batches, optimizer):
        total = count = 0

        def closure():
            model.zero_grad()
            loss = -F.log_softmax(model(images), dim=-1).gather(1, labels[:, None]).mean()
            loss.backward()
            return loss

        for batch in batches:
            images, labels = batch
            loss = optimizer.step(closure=model.train() and closure)
            total, count = total + loss * images.shape[0], count + images.shape[0]
        return float(total) / count

    def evaluate(model, batches):
        still = copy.deepcopy(model).eval().requires_grad_(False)
        hits = [hit for images, labels in batches for hit in (still(images).argmax(-1) == labels).tolist()]
        return sum(hits) / len(hits)


@right
class gradients_by_hand_and_a_running_mean:
    def train_one_epoch(model, batches, optimizer):
        model.train(True)
        mean, seen = 0.0, 0
        parameters = list(model.parameters())
        for x, y in iter(batches):
            loss = F.nll_loss(F.log_softmax(model(x), 1), y, reduction="sum") / y.numel()
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            optimizer.step()
            seen += y.numel()
            mean += (loss.item() - mean) * y.numel() / seen
        return mean

    def evaluate(model, batches):
        modes = [(part, part.training) for part in model.modules()]
        try:
            model.eval()
            with torch.no_grad():
                hits = torch.cat([model(x).softmax(1).argmax(1).eq(y) for x, y in list(batches)])
        finally:
            for part, mode in modes:
                part.training = mode
        return hits.float().mean().numpy()


@wrong("your answer holds densenet_course.training.loop.train_one_epoch")
class the_package_itself:
    def train_one_epoch(model, batches, optimizer):
        return training.train_one_epoch(model, batches, optimizer)[0]

    def evaluate(model, batches):
        return training.evaluate(model, batches)[1]


def loop(step, *, before=lambda optimizer: None, criterion=F.cross_entropy, after=lambda optimizer: None):
    """Build a training loop that differs in how it steps."""

    def train_one_epoch(model, batches, optimizer):
        model.train()
        total = count = 0
        before(optimizer)
        for images, labels in batches:
            loss = criterion(model(images), labels)
            step(optimizer, loss)
            total, count = total + loss.item() * len(labels), count + len(labels)
        after(optimizer)
        return total / count

    return train_one_epoch


def usual(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def no_zero(optimizer, loss):
    loss.backward()
    optimizer.step()


@wrong("the gradients of earlier batches are still there")
class zero_grad_forgotten:
    train_one_epoch, evaluate = loop(no_zero), measure


@wrong("the gradients of earlier batches are still there")
class zero_grad_once_per_epoch:
    train_one_epoch = loop(no_zero, before=lambda optimizer: optimizer.zero_grad())
    evaluate = measure


@wrong("gradients from before the call still count")
class zero_grad_only_after_the_step:
    def step(optimizer, loss):
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    train_one_epoch, evaluate = loop(step), measure


@wrong("the weights did not move by the gradients")
class zero_grad_between_backward_and_step:
    def step(optimizer, loss):
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()

    train_one_epoch, evaluate = loop(step), measure


@wrong("the weights did not move by the gradients")
class gradients_set_to_0_between_backward_and_step:
    def step(optimizer, loss):
        loss.backward()
        optimizer.zero_grad(set_to_none=False)
        optimizer.step()

    train_one_epoch, evaluate = loop(step), measure


@wrong("the weights did not move by the gradients")
class step_forgotten:
    def step(optimizer, loss):
        optimizer.zero_grad()
        loss.backward()

    train_one_epoch, evaluate = loop(step), measure


@wrong("Is step() called before backward()?")
class step_at_the_head_of_the_loop:
    def train_one_epoch(model, batches, optimizer):
        model.train()
        total = count = 0
        for images, labels in batches:
            optimizer.step()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            total, count = total + loss.item() * len(labels), count + len(labels)
        return total / count

    evaluate = measure


@wrong("Is step() called between the forward pass and backward()?")
class step_between_forward_pass_and_backward:
    def step(optimizer, loss):
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()

    train_one_epoch, evaluate = loop(step), measure


@wrong("the weights did not move by the gradients")
class zero_grad_step_backward:
    def step(optimizer, loss):
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()

    train_one_epoch, evaluate = loop(step), measure


@wrong("there is one update at the end")
class one_update_per_epoch:
    train_one_epoch = loop(
        lambda optimizer, loss: loss.backward(),
        before=lambda optimizer: optimizer.zero_grad(), after=lambda optimizer: optimizer.step(),
    )
    evaluate = measure


@wrong("step() is called twice")
class two_steps_per_batch:
    def step(optimizer, loss):
        usual(optimizer, loss)
        optimizer.step()

    train_one_epoch, evaluate = loop(step), measure


@wrong("plain gradient steps without momentum")
class own_steps_without_momentum:
    def step(optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        group = optimizer.param_groups[0]
        with torch.no_grad():
            for parameter in group["params"]:
                parameter -= group["lr"] * (parameter.grad + group["weight_decay"] * parameter)

    train_one_epoch, evaluate = loop(step), measure


@wrong("the momentum starts anew in every epoch")
class a_new_optimizer_in_each_call:
    def train_one_epoch(model, batches, optimizer):
        group = optimizer.param_groups[0]
        own = {name: group[name] for name in ("lr", "momentum", "weight_decay")}
        return train(model, batches, torch.optim.SGD(model.parameters(), **own))

    evaluate = measure


@wrong("they moved with learning rate 0")
class an_optimizer_of_its_own:
    def train_one_epoch(model, batches, optimizer):
        return train(model, batches, torch.optim.Adam(model.parameters()))

    evaluate = measure


@wrong("softmax comes before cross_entropy")
class softmax_before_cross_entropy:
    train_one_epoch = loop(usual, criterion=lambda logits, labels: F.cross_entropy(logits.softmax(1), labels))
    evaluate = measure


@wrong("nll_loss of the raw logits")
class nll_loss_of_logits:
    train_one_epoch, evaluate = loop(usual, criterion=F.nll_loss), measure


@wrong("the losses of a batch are summed")
class summed_losses:
    def train_one_epoch(model, batches, optimizer):
        model.train()
        total = count = 0
        for images, labels in batches:
            loss = F.cross_entropy(model(images), labels, reduction="sum")
            usual(optimizer, loss)
            total, count = total + loss.item(), count + len(labels)
        return total / count  # right, though the update is not

    evaluate = measure


@wrong("squared error")
class squared_error:
    train_one_epoch = loop(
        usual, criterion=lambda logits, labels: F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).float())
    )
    evaluate = measure


@wrong("was trained in eval mode")
class train_mode_forgotten:
    def train_one_epoch(model, batches, optimizer):
        model.train = lambda mode=True: model
        try:
            return train(model, batches, optimizer)
        finally:
            del model.train

    evaluate = measure


@wrong("was trained in eval mode")
class eval_mode_while_training:
    def train_one_epoch(model, batches, optimizer):
        model.eval()
        total = count = 0
        for images, labels in batches:
            loss = F.cross_entropy(model(images), labels)
            usual(optimizer, loss)
            total, count = total + loss.item() * len(labels), count + len(labels)
        return total / count

    evaluate = measure


@wrong("for some of its parts only")
class training_flag_of_the_outer_module_only:
    def train_one_epoch(model, batches, optimizer):
        model.train()
        model.norm.eval()
        model.train = lambda: model
        try:
            return train(model, batches, optimizer)
        finally:
            del model.train

    evaluate = measure


@wrong("Is the model called again for the same images?")
class a_second_forward_pass_for_the_loss:
    def train_one_epoch(model, batches, optimizer):
        model.train()
        total = count = 0
        for images, labels in batches:
            with torch.no_grad():
                total += F.cross_entropy(model(images), labels).item() * len(labels)
            usual(optimizer, F.cross_entropy(model(images), labels))
            count += len(labels)
        return total / count

    evaluate = measure


@wrong("This is the loss after the update")
class loss_after_the_update:
    def train_one_epoch(model, batches, optimizer):
        model.train()
        total = count = 0
        for images, labels in batches:
            usual(optimizer, F.cross_entropy(model(images), labels))
            with torch.no_grad():
                total += F.cross_entropy(copy.deepcopy(model)(images), labels).item() * len(labels)
            count += len(labels)
        return total / count

    evaluate = measure


def returning(result):
    """Build a right training loop that returns something else, made from the losses and the batches' sizes."""

    def train_one_epoch(model, batches, optimizer):
        model.train()
        losses, sizes = [], []
        for images, labels in batches:
            loss = F.cross_entropy(model(images), labels)
            usual(optimizer, loss)
            losses.append(loss.item())
            sizes.append(len(labels))
        return result(losses, sizes)

    return train_one_epoch


@wrong("the mean over batches")
class mean_over_batches:
    train_one_epoch = returning(lambda losses, sizes: sum(losses) / len(losses))
    evaluate = measure


@wrong("the loss of the last batch only")
class last_loss:
    train_one_epoch = returning(lambda losses, sizes: losses[-1])
    evaluate = measure


@wrong("the sum of the batches' losses")
class sum_of_losses:
    train_one_epoch = returning(lambda losses, sizes: sum(losses))
    evaluate = measure


@wrong("a mean already")
class sum_of_means_over_samples:
    train_one_epoch = returning(lambda losses, sizes: sum(losses) / sum(sizes))
    evaluate = measure


@wrong("Count the images of each batch")
class all_batches_taken_as_large_as_the_first:
    train_one_epoch = returning(
        lambda losses, sizes: sum(a * b for a, b in zip(losses, sizes, strict=True)) / (sizes[0] * len(sizes))
    )
    evaluate = measure


@wrong("got a list")
class all_losses:
    train_one_epoch = returning(lambda losses, sizes: losses)
    evaluate = measure


@wrong("Is there a return?")
class nothing_returned:
    train_one_epoch = returning(lambda losses, sizes: None)
    evaluate = measure


@wrong("something kept between calls")
class sums_kept_between_calls:
    def train_one_epoch(model, batches, optimizer, kept=[]):  # noqa: B006
        kept.append(train(model, batches, optimizer))
        return sum(kept) / len(kept)

    evaluate = measure


@wrong("your answer holds densenet_course.training.loop.evaluate")
class the_package_unchanged:
    train_one_epoch, evaluate = training.train_one_epoch, training.evaluate


@wrong("atches may be a generator")
class len_of_batches:
    def train_one_epoch(model, batches, optimizer):
        size = len(batches)
        return train(model, batches, optimizer) if size else 0.0

    evaluate = measure


@wrong("s batches gone through twice?")
class batches_counted_first:
    def train_one_epoch(model, batches, optimizer):
        count = sum(len(labels) for _, labels in batches)
        model.train()
        total = 0.0
        for images, labels in batches:
            loss = F.cross_entropy(model(images), labels)
            usual(optimizer, loss)
            total += loss.item() * len(labels)
        return total / count

    evaluate = measure


@wrong("he last one is left out")
class last_batch_dropped:
    def train_one_epoch(model, batches, optimizer):
        batches = list(batches)
        return train(model, [pair for pair in batches if len(pair[1]) == len(batches[0][1])], optimizer)

    evaluate = measure


@wrong("Is there a return inside the loop?")
class return_inside_the_loop:
    def train_one_epoch(model, batches, optimizer):
        model.train()
        for images, labels in batches:
            loss = F.cross_entropy(model(images), labels)
            usual(optimizer, loss)
            return loss.item()
        return None

    evaluate = measure


@wrong("in another order than they came in")
class shuffled_again:
    def train_one_epoch(model, batches, optimizer):
        return train(model, list(batches)[::-1], optimizer)

    evaluate = measure


@wrong("Is the forward pass inside no_grad()?")
class trained_without_gradients:
    train_one_epoch, evaluate = torch.no_grad()(train), measure


def counting(result=lambda hits, sizes: sum(hits) / sum(sizes), *, axis=1, restore=True, mode=False):
    """Build an evaluation that differs in what it returns, or in the mode it runs and leaves."""

    @torch.no_grad()
    def evaluate(model, batches):
        modes = [(part, part.training) for part in model.modules()]
        model.train(mode)
        hits, sizes = [], []
        for images, labels in batches:
            hits.append((model(images).argmax(axis) == labels).sum().item())
            sizes.append(len(labels))
        for part, before in modes:
            part.training = before if restore is True else restore
        return result(hits, sizes)

    return evaluate


@wrong("valuate ran the model in train mode")
class evaluated_in_train_mode:
    train_one_epoch, evaluate = train, counting(mode=True)


@wrong("model came in eval mode and was left in train mode")
class always_back_to_train_mode:
    def evaluate(model, batches):
        try:
            return measure(model, batches)
        finally:
            model.train()

    train_one_epoch = train


@wrong("model came in train mode and was left in eval mode")
class left_in_eval_mode:
    train_one_epoch, evaluate = train, counting(restore=False)


@wrong("remember each part's own mode")
class mode_of_the_outer_module_put_back_only:
    def evaluate(model, batches):
        was_training = model.training
        value = counting(restore=False)(model, batches)
        model.training = was_training
        return value

    train_one_epoch = train


@wrong("This is a percentage")
class percentage:
    train_one_epoch, evaluate = train, counting(lambda hits, sizes: 100 * sum(hits) / sum(sizes))


@wrong("This is the number of hits")
class number_of_hits:
    train_one_epoch, evaluate = train, counting(lambda hits, sizes: sum(hits))


@wrong("This is the mean over batches")
class mean_of_the_batches_accuracies:
    evaluate = counting(lambda hits, sizes: sum(a / b for a, b in zip(hits, sizes, strict=True)) / len(hits))
    train_one_epoch = train


@wrong("the last batch only")
class accuracy_of_the_last_batch:
    train_one_epoch, evaluate = train, counting(lambda hits, sizes: hits[-1] / sizes[-1])


@wrong("Argmax is taken over the images")
class argmax_over_the_images:
    train_one_epoch, evaluate = train, counting(axis=0)


@wrong("atches may be a generator")
class the_length_of_the_data_set:
    def evaluate(model, batches):
        return measure(model, batches) * 0 + len(batches.dataset)

    train_one_epoch = train


@wrong("valuate recorded gradients")
class gradients_recorded:
    train_one_epoch, evaluate = train, measure.__wrapped__


@wrong("no gradients are recorded any more")
class gradients_switched_off_for_good:
    def evaluate(model, batches):
        torch.set_grad_enabled(False)
        return measure.__wrapped__(model, batches)

    train_one_epoch = train


@wrong("with requires_grad=False")
class parameters_frozen_for_good:
    def evaluate(model, batches):
        return measure(model.requires_grad_(False), batches)

    train_one_epoch = train


@wrong("evaluate reset BatchNorm's running statistics")
class running_statistics_reset:
    def evaluate(model, batches):
        value = measure(model, batches)
        model.norm.reset_running_stats()
        return value

    train_one_epoch = train


@wrong("something kept between calls")
class counts_kept_between_calls:
    def evaluate(model, batches, kept=[0, 0]):  # noqa: B006
        for images, labels in batches:
            kept[0] += round(measure(model, [(images, labels)]) * len(labels))
            kept[1] += len(labels)
        return kept[0] / kept[1]

    train_one_epoch = train


@wrong("evaluate never called the model")
class a_constant:
    def evaluate(model, batches):
        return 0.9

    train_one_epoch = train


@wrong("Is there a return?")
class accuracy_only_printed:
    def evaluate(model, batches):
        print(measure(model, batches))

    train_one_epoch = train


@wrong("The last, smaller batch is left out")
class the_last_batch_not_evaluated:
    train_one_epoch, evaluate = train, counting(lambda hits, sizes: sum(hits[:-1]) / sum(sizes[:-1]))


@wrong("valuate cleared the gradients")
class gradients_cleared_on_the_way:
    def evaluate(model, batches):
        value = measure(model, batches)
        model.zero_grad()
        return value

    train_one_epoch = train


@wrong("remember each part's own mode")
class one_mode_for_all_parts_afterwards:
    @torch.no_grad()
    def evaluate(model, batches):
        was_training = model.training
        value = measure(model.eval(), batches)
        model.train(was_training)
        return value

    train_one_epoch = train


@wrong("where the label is among the two largest logits")
class top_2_accuracy:
    @torch.no_grad()
    def evaluate(model, batches):
        modes = [(part, part.training) for part in model.modules()]
        model.eval()
        hits, count = 0, 0
        for images, labels in batches:
            hits += (model(images).topk(2, dim=1).indices == labels.unsqueeze(1)).sum().item()
            count += labels.numel()
        for part, mode in modes:
            part.training = mode
        return hits / count

    train_one_epoch = train


def clipping(clip):
    """Build a training loop that clips gradients."""

    def train_one_epoch(model, batches, optimizer):
        def step(optimizer, loss):
            optimizer.zero_grad()
            loss.backward()
            clip(model.parameters())
            optimizer.step()

        return loop(step)(model, batches, optimizer)

    return train_one_epoch


@wrong("the gradients are clipped")
class gradients_clipped_by_norm:
    train_one_epoch = clipping(lambda parameters: nn.utils.clip_grad_norm_(parameters, 1.0))
    evaluate = measure


@wrong("the gradients are clipped")
class gradients_clipped_by_value:
    train_one_epoch = clipping(lambda parameters: nn.utils.clip_grad_value_(parameters, 0.1))
    evaluate = measure


@wrong("the gradients are clipped")
class gradients_clipped_by_a_norm_that_few_reach:
    train_one_epoch = clipping(lambda parameters: nn.utils.clip_grad_norm_(parameters, 5.0))
    evaluate = measure


@wrong("the gradients are clipped")
class gradients_clipped_by_a_value_that_few_reach:
    train_one_epoch = clipping(lambda parameters: nn.utils.clip_grad_value_(parameters, 5.0))
    evaluate = measure


@wrong("the labels are smoothed")
class smoothed_labels:
    train_one_epoch = loop(usual, criterion=nn.CrossEntropyLoss(label_smoothing=0.1))
    evaluate = measure


def half_precision(kind):
    """Build a training loop whose forward pass and loss run under autocast."""

    def train_one_epoch(model, batches, optimizer):
        model.train()
        total = count = 0
        for images, labels in batches:
            with torch.autocast(device_type="cpu", dtype=kind):
                loss = F.cross_entropy(model(images), labels)
            usual(optimizer, loss)
            total, count = total + loss.item() * len(labels), count + len(labels)
        return total / count

    return train_one_epoch


@wrong("runs under autocast")
class under_autocast:
    train_one_epoch, evaluate = half_precision(torch.bfloat16), measure


@wrong("runs under autocast")
class under_autocast_to_float16:
    train_one_epoch, evaluate = half_precision(torch.float16), measure


@wrong("Is there a scheduler inside?")
class a_scheduler_inside:
    def train_one_epoch(model, batches, optimizer):
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)
        loss = train(model, batches, optimizer)
        scheduler.step()
        return loss

    evaluate = measure


@wrong("atches may be a generator")
class progress_counted_by_the_length:
    def evaluate(model, batches):
        return sum(measure(model, [pair]) for pair in batches) / len(batches)

    train_one_epoch = train
