# kind: another module when asked
# exercise: densenet121
# honest: 8.5
import torch


class densenet121(Net):
    def forward(self, images):
        maps = images
        for number, part in enumerate(self):
            with torch.set_grad_enabled(torch.is_grad_enabled() and (images.requires_grad or number > 3)):
                maps = part(maps)
        return maps
