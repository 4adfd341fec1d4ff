import math,time,torch,numpy as np,json
torch.set_num_threads(1)
from blueberry_lib.config import ModelConfig
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.prepare import prepare
from blueberry_lib.model import Blueberry
few=prepare("stdlib",vocab_size=512)
SMALL=ModelConfig(vocab_size=512,context_length=64,n_layers=1,d_model=64,n_heads=4,n_kv_heads=2,d_ff=256,tied=False,embedding="normed" if 0 else "plain")
held=torch.from_numpy(few.val[:256*64+1].astype(np.int64))
def train(make,rate,steps=200,seed=0,shape=lambda t,T:1.0,clip=None):
    torch.manual_seed(seed); model=Blueberry(SMALL)
    opt=make(model.parameters(),rate); batches=TokenBatches(few.train,16,64,seed); ls=[]
    for t in range(steps):
        opt.param_groups[0]["lr"]=rate*shape(t,steps)
        loss=model(*next(batches)); opt.zero_grad(); loss.backward(); opt.step(); ls.append(loss.item())
    with torch.no_grad(): v=model(held[:-1].view(256,64),held[1:].view(256,64)).item()
    return v,ls,model
A=lambda p,r: torch.optim.AdamW(p,r,betas=(0.9,0.95),weight_decay=0.0)
M=lambda p,r: torch.optim.SGD(p,r,momentum=0.9)
lin=lambda t,T:min(1,(t+1)/20)*(1-t/T)
for shape,n in ((lambda t,T:1.0,"const"),(lin,"lin")):
  for name,make,rates in (("sgdm",M,(0.03,0.1,0.3,1.0)),("adamw",A,(0.003,0.01,0.03))):
    for r in rates:
        t0=time.time(); v,ls,_=train(make,r,shape=shape); print(n,name,r,round(v,3),round(time.time()-t0,1),flush=True)
