"""Level 1: constants of single kernels from the measured tables of aiconfigurator-core, one module an operation.

tables: what is read and what is held out; robust: the fit; screen: which points count; routing: the loads of the
experts; moe, attention, gemm, collectives, exchange: the operations. The formulas are routeline.kernels.

What a measured time contains (aiconfigurator, collector/helper.py benchmark_with_power and the collectors): a
captured CUDA graph is replayed and timed by events around the replays, divided by the calls in a graph. MoE: five
calls a graph, each with its own routing, replayed once (TensorRT-LLM, vLLM) or several times (SGLang); `balanced`
one call, six replays. GEMM: five or six calls a graph. Attention: one call. So t0 contains the kernels' own
prologues, what the module launches beside its matrix products (quantising, top-k, permuting, the SGLang collector
also copies of the routing), and 1/calls of the gap between graph replays, a few microseconds: in a served step, where
kernels follow each other inside one graph, expect less. Replays read the same weights again: what fits in the L2
cache comes from there, which a served layer never sees; the constant `cache` describes it and is not for serving.
"""
