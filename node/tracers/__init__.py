"""Geth's tracers: what ``debug_trace*`` and ``trace_*`` answer, heard through `vm.evm.trace.Tracer`."""
