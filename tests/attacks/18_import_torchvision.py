# kind: the reference
# exercise: densenet121
# honest: 0
from torchvision.models import densenet121
