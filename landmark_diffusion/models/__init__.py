"""Networks, each an ``nn.Module`` that keeps the interface of ``models.network``; the UNet is the default."""
