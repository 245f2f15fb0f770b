import math, torch
from torch import nn
from torch.nn import functional as F
def norm(c,g): return nn.GroupNorm(math.gcd(c,g), c)
class Block(nn.Module):
    def __init__(s, i, o, temb, g, drop):
        super().__init__()
        s.n1=norm(i,g); s.c1=nn.Conv2d(i,o,3,padding=1)
        s.t=nn.Linear(temb,o) if temb else None
        s.n2=norm(o,g); s.c2=nn.Conv2d(o,o,3,padding=1); s.drop=nn.Dropout(drop)
        s.skip=nn.Conv2d(i,o,1) if i!=o else nn.Identity()
        nn.init.zeros_(s.c2.weight); nn.init.zeros_(s.c2.bias)
    def forward(s,x,e):
        h=s.c1(F.silu(s.n1(x)))
        if s.t is not None and e is not None: h=h+s.t(e)[:,:,None,None]
        return s.skip(x)+s.c2(s.drop(F.silu(s.n2(h))))
class Attn(nn.Module):
    def __init__(s,c,h,g):
        super().__init__(); s.n=norm(c,g); s.qkv=nn.Conv2d(c,3*c,1); s.o=nn.Conv2d(c,c,1); s.h=h
        nn.init.zeros_(s.o.weight); nn.init.zeros_(s.o.bias)
    def forward(s,x):
        b,c,h,w=x.shape
        q,k,v=s.qkv(s.n(x)).reshape(b,3,s.h,c//s.h,h*w).transpose(-1,-2).unbind(1)
        y=F.scaled_dot_product_attention(q,k,v).transpose(-1,-2).reshape(b,c,h,w)
        return x+s.o(y)
class UNet(nn.Module):
    def __init__(s,in_channels,out_channels,encoder_channels,decoder_channels,blocks_per_level=2,attention_factors=(4,8),attention_heads=4,time_embedding=True,dropout=0.,norm_groups=8,final_activation="silu",output_activation="none",gradient_checkpointing=False):
        super().__init__()
        E,D=list(encoder_channels),list(decoder_channels); L=len(E); s.L=L
        te=4*E[0] if time_embedding else 0; s.td=E[0]; s.time=time_embedding
        if te: s.mlp=nn.Sequential(nn.Linear(E[0],te),nn.SiLU(),nn.Linear(te,te),nn.SiLU())
        s.inp=nn.Conv2d(in_channels,E[0],3,padding=1)
        at=lambda i: 2**i in attention_factors
        s.enc=nn.ModuleList(); s.down=nn.ModuleList(); c=E[0]; g=norm_groups; skips=[]
        for i in range(L):
            bl=nn.ModuleList()
            for _ in range(blocks_per_level):
                bl.append(nn.ModuleList([Block(c,E[i],te,g,dropout), Attn(E[i],attention_heads,g) if at(i) else nn.Identity()])); c=E[i]
            s.enc.append(bl); s.down.append(nn.Conv2d(c,c,3,stride=2,padding=1) if i<L-1 else nn.Identity()); skips.append(c)
        s.dec=nn.ModuleList(); s.up=nn.ModuleList()
        for j in range(L):
            i=L-1-j; bl=nn.ModuleList()
            ci=c if j==0 else c+skips[i]
            for _ in range(blocks_per_level):
                bl.append(nn.ModuleList([Block(ci,D[j],te,g,dropout), Attn(D[j],attention_heads,g) if at(i) else nn.Identity()])); ci=c=D[j]
            s.dec.append(bl); s.up.append(nn.Conv2d(c,c,3,padding=1) if i>0 else nn.Identity())
        s.on=norm(c,g); s.out=nn.Conv2d(c,out_channels,3,padding=1); s.fa=final_activation; s.oa=output_activation
        nn.init.zeros_(s.out.weight); nn.init.zeros_(s.out.bias)
    def forward(s,x,t=None):
        H,W=x.shape[-2:]; m=2**(s.L-1); ph,pw=-H%m,-W%m
        if ph or pw: x=F.pad(x,(0,pw,0,ph))
        e=None
        if s.time and t is not None:
            f=torch.exp(-math.log(1e4)*torch.arange(s.td//2,device=x.device)/(s.td//2)); a=t[:,None].float()*f
            e=s.mlp(torch.cat([a.sin(),a.cos()],1))
        h=s.inp(x); sk=[]
        for i in range(s.L):
            for b,a in s.enc[i]: h=a(b(h,e))
            sk.append(h)
            if i<s.L-1: h=s.down[i](h)
        for j in range(s.L):
            if j>0: h=torch.cat([h,sk[s.L-1-j]],1)
            for b,a in s.dec[j]: h=a(b(h,e))
            if j<s.L-1: h=s.up[j](F.interpolate(h,scale_factor=2.,mode="nearest"))
        h=s.on(h); h=torch.tanh(h) if s.fa=="tanh" else F.silu(h)
        with torch.autocast(x.device.type,enabled=False): h=s.out(h.float())
        if s.oa=="tanh": h=torch.tanh(h)
        return h[...,:H,:W]
