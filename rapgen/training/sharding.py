"""How a model lies on the processes that train it: whole on each (DDP), or a share on each (FSDP, `sharded: true`)."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from rapgen.distributed import world_size
from rapgen.schema import Training
from rapgen.training.compiling import compile_blocks


def spread(
    model: nn.Module, settings: Training, *, sharded: bool, skips_parameters: bool
) -> tuple[nn.Module, Accelerator]:
    """`model` ready to be called in training, on its device, compiled where asked, gradients averaged over processes.

    `model` itself stays as it is, moved, when whole; its parameters become shares when sharded.
    """
    # Where there is no GPU, Accelerate must be told that several processes are meant to share the CPUs.
    on_cpus = world_size() > 1 and not torch.cuda.is_available()
    unused = DistributedDataParallelKwargs(find_unused_parameters=skips_parameters)
    accelerator = Accelerator(cpu=on_cpus, kwargs_handlers=[unused])
    compile_blocks(model, settings, accelerator.device)
    if sharded and world_size() > 1:
        return _shard(model, accelerator.device), accelerator
    return accelerator.prepare_model(model), accelerator


def _shard(model: nn.Module, device: torch.device) -> nn.Module:
    """Split every parameter over the processes; a block's are gathered while it computes, the rest in every pass."""
    mesh = init_device_mesh(device.type, (world_size(),))
    for blocks in (m for m in model.modules() if isinstance(m, nn.ModuleList)):
        for block in (b for b in blocks if any(p.requires_grad for p in b.parameters())):
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)  # in place, block by block on the device
    if device.type == "cpu":  # in some versions of torch gloo gives the sum where it is asked for the mean
        for part in (m for m in model.modules() if isinstance(m, FSDPModule)):
            part.set_force_sum_reduction_for_comms(True)
    return model


def local(x: Tensor) -> Tensor:
    """What this process holds of a tensor: its share, or all of it."""
    return x.to_local() if isinstance(x, DTensor) else x


def whole(x: Tensor) -> Tensor:
    """A tensor put together from its shares; all processes must ask."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def placed_like(x: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor [...] on the parameter's device, split as it is where it has its shape."""
    if isinstance(parameter, DTensor) and x.shape == parameter.shape:
        return distribute_tensor(x.to(parameter.device), parameter.device_mesh, parameter.placements)
    return x.to(parameter.device)
