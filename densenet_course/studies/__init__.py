"""What lessons 10 to 14 study: features of layers, transfer, DenseNet's relatives, the space of designs.

The room: ``features`` (what the layers hold), ``transfer`` (a trained network for a new task), ``relatives`` (ResNet
and Inception of equal size), ``families`` (what those were measured to cost), ``design_space`` (which choice helps).
"""
