"""Answers to exercise transfer."""

import copy
import types

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def head(model, num_classes, **options):
    return nn.Linear(model.classifier.in_features, num_classes, **options)


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


class Frozen(nn.Module):
    """Features in eval mode, whatever the mode of the whole; a classifier on top."""

    def __init__(self, model, num_classes):
        super().__init__()
        self.features = model.features.requires_grad_(False).eval()
        self.classifier = head(model, num_classes)

    def train(self, mode=True):
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, images):
        maps = F.relu(self.features(images))
        return self.classifier(F.adaptive_avg_pool2d(maps, 1).flatten(1))


@right
class a_wrapper_with_its_own_train:
    prepare_for_transfer = Frozen


@right
class train_replaced_on_the_network:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        model.classifier = head(model, num_classes)

        def train(self, mode=True):
            type(self).train(self, mode)
            self.features.eval()
            return self

        model.train = types.MethodType(train, model)
        return model.train()


@right
class norms_of_a_new_class:
    class FrozenNorm(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(False)

    def prepare_for_transfer(model, num_classes, FrozenNorm=FrozenNorm):
        model = copy.deepcopy(model)
        for parameter in model.parameters():
            parameter.requires_grad = False
        for norm in norms(model):
            norm.__class__ = FrozenNorm
            norm.eval()
        model.classifier = head(model, num_classes)
        return model


@right
class norms_without_parameters:
    def prepare_for_transfer(model, num_classes):
        from torchvision.ops import FrozenBatchNorm2d

        model.requires_grad_(False)
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    norm = FrozenBatchNorm2d(child.num_features, eps=child.eps)
                    norm.load_state_dict(child.state_dict())
                    setattr(parent, name, norm)
        model.classifier = head(model, num_classes)
        return model


@right
class a_hook_in_front_of_each_norm:
    def prepare_for_transfer(model, num_classes):
        for norm in norms(model):
            norm.register_forward_pre_hook(lambda module, inputs: setattr(module, "training", False))
        model.requires_grad_(False)
        model.classifier = head(model, num_classes)
        nn.init.zeros_(model.classifier.weight)
        return model


@right
class no_gradients_recorded_in_the_features:
    class Probe(nn.Module):
        def __init__(self, features, num_classes):
            super().__init__()
            self.trunk, self.out = features, nn.LazyLinear(num_classes)

        def train(self, mode=True):
            super().train(mode)
            for module in self.trunk.modules():
                module.training = False
            return self

        def forward(self, images):
            with torch.no_grad():
                pooled = self.trunk(images).relu().mean((2, 3))
            return self.out(pooled)

    def prepare_for_transfer(model, num_classes, Probe=Probe):
        return Probe(model.features, num_classes).train()


@right
class norms_that_do_not_hear_of_train:
    def prepare_for_transfer(model, num_classes):
        model.eval().requires_grad_(False)
        for norm in norms(model):
            norm.train = lambda mode=True: None
        model.classifier = head(model, num_classes)
        return model


@wrong("Frozen parameters do not stop BatchNorm")
class norms_in_train_mode:
    def prepare_for_transfer(model, num_classes):
        model.train().requires_grad_(False)
        model.classifier = head(model, num_classes)
        return model


@wrong("train() switches BatchNorm on again")
class eval_mode_once:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False).eval()
        model.classifier = head(model, num_classes)
        return model


@wrong("so BatchNorm uses the batch's statistics")
class only_the_norms_of_the_first_level:
    def prepare_for_transfer(model, num_classes):
        model.eval().requires_grad_(False)
        for child in model.features.children():
            if isinstance(child, nn.BatchNorm2d):
                child.train = lambda mode=True: None
        model.classifier = head(model, num_classes)
        return model


@wrong("after eval(): expected model.training False")
class train_that_ignores_its_argument:
    def prepare_for_transfer(model, num_classes):
        class Always(Frozen):
            def train(self, mode=True):
                super().train()
                return self

        return Always(model, num_classes)


@wrong("momentum=0 does not stop this counter")
class momentum_0:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        for norm in norms(model):
            norm.momentum = 0.0
        model.classifier = head(model, num_classes)
        return model


@wrong("stops the running averages only")
class no_tracking:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        for norm in norms(model):
            norm.track_running_stats = False
        model.classifier = head(model, num_classes)
        return model


@wrong("BatchNorm uses the batch's statistics in eval mode")
class no_running_statistics_at_all:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        for norm in norms(model):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        model.classifier = head(model, num_classes)
        return model


@wrong("until train() is called")
class only_train_puts_norms_into_eval_mode:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        model.classifier = head(model, num_classes)

        def train(mode=True):
            type(model).train(model, mode)
            model.features.eval()
            return model

        model.train = train
        return model


@wrong("let your train(mode) call super().train(mode) first")
class always_in_eval_mode:
    def prepare_for_transfer(model, num_classes):
        model.eval().requires_grad_(False)
        model.classifier = head(model, num_classes)
        model.train = lambda mode=True: model
        return model


@wrong("with return self")
class train_returns_nothing:
    def prepare_for_transfer(model, num_classes):
        class Quiet(Frozen):
            def train(self, mode=True):
                super().train(mode)

        return Quiet(model, num_classes)


@wrong("Is the new classifier frozen with the rest")
class classifier_frozen_too:
    def prepare_for_transfer(model, num_classes):
        model = Frozen(model, num_classes)
        return model.requires_grad_(False)


@wrong("the classifier's weight")
class only_the_bias_trained:
    def prepare_for_transfer(model, num_classes):
        model = Frozen(model, num_classes)
        model.classifier.weight.requires_grad_(False)
        return model


@wrong("moved in training")
class nothing_frozen:
    def prepare_for_transfer(model, num_classes):
        model = Frozen(model, num_classes)
        model.features.requires_grad_(True)
        return model


@wrong("γ and β of BatchNorm are parameters too")
class only_convolutions_frozen:
    def prepare_for_transfer(model, num_classes):
        model = Frozen(model, num_classes)
        for norm in norms(model):
            norm.requires_grad_(True)
        return model


@wrong("moved in training")
class the_last_block_left_to_train:
    def prepare_for_transfer(model, num_classes):
        model = Frozen(model, num_classes)
        model.features.denseblock2.requires_grad_(True)
        return model


@wrong("moved in training")
class a_convolution_trained_as_a_part_of_the_classifier:
    class Renamed(nn.Module):
        def __init__(self, model, num_classes):
            super().__init__()
            self.classifier = head(model, num_classes)
            model = Frozen(model, num_classes)
            self.classifier.first = model.features.conv0.weight.requires_grad_()
            self.features, model.classifier = model, self.classifier

        def train(self, mode=True):
            super().train(mode)
            self.features.train(mode)
            return self

        def forward(self, images):
            return self.features(images)

    def prepare_for_transfer(model, num_classes, Renamed=Renamed):
        return Renamed(model, num_classes)


@wrong("The old classifier is still there")
class unchanged:
    def prepare_for_transfer(model, num_classes):
        return model


@wrong("Make a new Linear in any case")
class old_classifier_kept_for_as_many_classes:
    def prepare_for_transfer(model, num_classes):
        old = model.classifier
        model = Frozen(model, num_classes)
        if num_classes == old.out_features:
            model.classifier = old
        return model


@wrong("it is called classifier, not fc")
class named_fc:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        for norm in norms(model.eval()):
            norm.train = lambda mode=True: None
        model.fc = head(model, num_classes)
        return model


@wrong("It reads the old classifier's logits")
class on_top_of_the_old_classifier:
    def prepare_for_transfer(model, num_classes):
        model.eval().requires_grad_(False)
        for norm in norms(model):
            norm.train = lambda mode=True: None
        return nn.Sequential(model, nn.Linear(model.classifier.out_features, num_classes))


@wrong("got one without bias")
class no_bias:
    def prepare_for_transfer(model, num_classes):
        classifier = head(model, num_classes, bias=False)
        model = Frozen(model, num_classes)
        model.classifier = classifier
        return model


@wrong("expected one trained Linear, got 2")
class two_layers:
    def prepare_for_transfer(model, num_classes):
        first = head(model, model.classifier.in_features)
        model = Frozen(model, num_classes)
        model.classifier = nn.Sequential(first, nn.ReLU(), model.classifier)
        return model


@wrong("no Linear at all")
class features_only:
    def prepare_for_transfer(model, num_classes):
        return model.features.requires_grad_(False)


@wrong("the ReLU after the last BatchNorm is missing")
class children_without_the_last:
    def prepare_for_transfer(model, num_classes):
        model.eval().requires_grad_(False)
        for norm in norms(model):
            norm.train = lambda mode=True: None
        trunk = list(model.children())[:-1]
        return nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(model, num_classes))


@wrong("the ReLU stands after the pooling")
class ReLU_after_the_pooling:
    def prepare_for_transfer(model, num_classes):
        model.eval().requires_grad_(False)
        for norm in norms(model):
            norm.train = lambda mode=True: None
        pool = nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(model.features, pool, nn.ReLU(), nn.Flatten(), head(model, num_classes))


@wrong("this is max pooling")
class max_pooling:
    def prepare_for_transfer(model, num_classes):
        model.eval().requires_grad_(False)
        for norm in norms(model):
            norm.train = lambda mode=True: None
        pool = nn.AdaptiveMaxPool2d(1)
        return nn.Sequential(model.features, nn.ReLU(), pool, nn.Flatten(), head(model, num_classes))


@wrong("the features are not those of the given network")
class weights_drawn_anew:
    def prepare_for_transfer(model, num_classes):
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        return Frozen(model, num_classes)


@wrong("the features are not those of the given network")
class running_statistics_reset:
    def prepare_for_transfer(model, num_classes):
        for norm in norms(model):
            norm.reset_running_stats()
        return Frozen(model, num_classes)


@wrong("Is there a return?")
class nothing_returned:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        model.classifier = head(model, num_classes)


@wrong("expected an nn.Module, got a tuple")
class model_and_classifier:
    def prepare_for_transfer(model, num_classes):
        model = Frozen(model, num_classes)
        return model, model.classifier


@wrong("→ 10.")
class ten_classes_always:
    def prepare_for_transfer(model, num_classes):
        return Frozen(model, 10)


@wrong("1024 fits DenseNet-121 only")
class the_width_of_DenseNet_121:
    def prepare_for_transfer(model, num_classes):
        model = Frozen(model, num_classes)
        model.classifier = nn.Linear(1024, num_classes)
        return model


@wrong("expected a Linear")
class a_network_of_its_own:
    def prepare_for_transfer(model, num_classes):
        from torchvision.models import DenseNet

        return Frozen(DenseNet(4, (2, 2), 8, num_classes=num_classes), num_classes)


def on_top(*more):
    """Build an answer that is right but for what comes after or before its new classifier."""

    def prepare_for_transfer(model, num_classes):
        prepared = Frozen(model, num_classes)
        prepared.classifier = nn.Sequential(*(prepared.classifier if part is None else part for part in more))
        return prepared

    return prepare_for_transfer


@wrong("Is there a Dropout?")
class a_Dropout_before_the_classifier:
    prepare_for_transfer = on_top(nn.Dropout(0.5), None)


@wrong("there is a softmax at the end")
class probabilities_in_place_of_logits:
    prepare_for_transfer = on_top(None, nn.Softmax(1))


@right
class a_lazy_classifier_and_a_class_made_on_the_spot:
    def prepare_for_transfer(model, num_classes):
        class Tuned(type(model)):
            def train(self, mode=True):
                super().train(mode)
                for norm in norms(self):
                    norm.eval()
                return self

        model.__class__ = Tuned
        model.requires_grad_(False)
        model.classifier = nn.LazyLinear(num_classes)
        return model.train()


@right
class norms_folded_into_scale_and_shift:
    class Affine(nn.Module):
        def __init__(self, norm):
            super().__init__()
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            self.register_buffer("scale", scale.detach())
            self.register_buffer("shift", (norm.bias - norm.running_mean * scale).detach())
            for name, value in norm.state_dict().items():
                self.register_buffer(name, value)

        def forward(self, x):
            return x * self.scale[:, None, None] + self.shift[:, None, None]

    def prepare_for_transfer(model, num_classes, Affine=Affine):
        model.requires_grad_(False)
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                place, _, last = name.rpartition(".")
                setattr(model.get_submodule(place), last, Affine(module))
        model.classifier = head(model, num_classes)
        return model


@right
class train_of_the_features_replaced_in_a_copy:
    def prepare_for_transfer(model, num_classes):
        model = copy.deepcopy(model).requires_grad_(False)
        model.classifier = nn.Linear(model.classifier.in_features, num_classes)
        features = model.features.eval()
        features.train = lambda mode=True: features
        return model


@wrong("One linear layer is asked for")
class a_hidden_layer_in_the_head:
    def prepare_for_transfer(model, num_classes):
        model.requires_grad_(False)
        hidden = nn.Linear(model.classifier.in_features, 64)
        model.classifier = nn.Sequential(hidden, nn.ReLU(), nn.Linear(64, num_classes))
        return model
