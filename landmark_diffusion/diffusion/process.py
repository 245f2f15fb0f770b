import torch
def _ab(s, t, x): return s.alphas_bar.to(t.device)[t].reshape(-1, *(1,) * (x.ndim - 1)).float()
def add_noise(s, x0, noise, t):
    a = _ab(s, t, x0); return a.sqrt() * x0 + (1 - a).sqrt() * noise
def x0_from_noise(s, x_t, noise, t):
    a = _ab(s, t, x_t); return (x_t - (1 - a).sqrt() * noise) / a.sqrt()
def v_from(s, x0, noise, t):
    a = _ab(s, t, x0); return a.sqrt() * noise - (1 - a).sqrt() * x0
def x0_from_v(s, x_t, v, t):
    a = _ab(s, t, x_t); return a.sqrt() * x_t - (1 - a).sqrt() * v
