import torch
from torch.nn import functional as F
def blur_sigma(t, T, sigma_min, sigma_max): return sigma_min + t * (sigma_max - sigma_min) / (T - 1)
def gaussian_blur(maps, sigma, kernel_size=13):
    r = kernel_size // 2; k = torch.exp(-torch.arange(-r, r + 1, dtype=torch.float32) ** 2 / (2 * sigma**2)); k = (k / k.sum()).to(maps.device)
    n = maps.shape[1]; x = F.pad(maps, (r,) * 4, mode="replicate")
    x = F.conv2d(x, k.view(1, 1, 1, -1).expand(n, 1, 1, -1), groups=n); return F.conv2d(x, k.view(1, 1, -1, 1).expand(n, 1, -1, 1), groups=n)
def renormalise_peak(maps, before): return maps * (before.amax((-2, -1), keepdim=True) / maps.amax((-2, -1), keepdim=True).clamp_min(1e-12))
