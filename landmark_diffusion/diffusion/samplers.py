import torch
def timesteps(T, n, spacing="trailing"):
    return [round(T - i * T / n) - 1 for i in range(n)]
def ddpm_sample(denoise, x_T, schedule, steps, noise=None, **_):
    x = x_T; ab = schedule.alphas_bar
    for i, t in enumerate(steps):
        x0 = denoise(x, torch.full((len(x),), t, device=x.device)); x_now = x
        if i + 1 < len(steps):
            p = steps[i + 1]; a, ap = ab[t], ab[p]; alpha = a / ap; beta = 1 - alpha
            x = (alpha.sqrt() * (1 - ap) / (1 - a)).item() * x + (ap.sqrt() * beta / (1 - a)).item() * x0 + ((1 - ap) / (1 - a) * beta).sqrt().item() * noise()
        yield t, x_now, x0
def ddim_sample(denoise, x_T, schedule, steps, eta=0.0, noise=None, **_):
    x = x_T; ab = schedule.alphas_bar
    for i, t in enumerate(steps):
        x0 = denoise(x, torch.full((len(x),), t, device=x.device)); x_now = x
        if i + 1 < len(steps):
            p = steps[i + 1]; a, ap = ab[t].item(), ab[p].item()
            s = eta * ((1 - ap) / (1 - a) * (1 - a / ap)) ** 0.5; e = (x - a**0.5 * x0) / (1 - a) ** 0.5
            x = ap**0.5 * x0 + max(1 - ap - s * s, 0) ** 0.5 * e + (s * noise() if s else 0)
        yield t, x_now, x0
