# kind: the reference
# exercise: dense_block
# honest: 0
from densenet_course.layers import DenseBlock
