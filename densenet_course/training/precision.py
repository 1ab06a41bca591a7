"""Which device this machine offers, and which number format and memory layout train fastest there."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """How a training step computes.

    Args:
        autocast_dtype: ``torch.bfloat16`` to run convolutions and matrix products in it, or None for plain fp32.
        memory_format: layout of images and weights: ``torch.channels_last`` or ``torch.contiguous_format``.
    """

    autocast_dtype: torch.dtype | None
    memory_format: torch.memory_format

    def autocast(self, device):
        """Make the context in which a forward pass runs; it does nothing for plain fp32."""
        return torch.autocast(device.type, self.autocast_dtype, enabled=self.autocast_dtype is not None)

    def __str__(self):
        dtype = "bf16 autocast" if self.autocast_dtype is not None else "fp32"
        return f"{dtype}, {'channels-last' if self.memory_format == torch.channels_last else 'contiguous'}"


FP32 = Precision(None, torch.contiguous_format)
FP32_CHANNELS_LAST = Precision(None, torch.channels_last)
BF16 = Precision(torch.bfloat16, torch.channels_last)


def choose_device():
    """Return the fastest device of this machine: CUDA, else MPS (Apple), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_bf16(device):
    """Tell whether a device multiplies bf16 numbers in hardware; without such units bf16 is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(unit, False) for unit in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.cpu._is_avx512_bf16_supported()  # torch before 2.12 has no public question


def choose_precision(device, *, allow_bf16=True):
    """Return bf16 with channels-last where the device has bf16 units, and fp32 where not.

    On a CPU fp32 is channels-last too: there it is the faster layout.

    Args:
        device: where the training runs.
        allow_bf16: False for fp32 on every device.
    """
    if allow_bf16 and has_bf16(device):
        return BF16
    return FP32_CHANNELS_LAST if device.type == "cpu" else FP32
