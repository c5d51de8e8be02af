"""Geth's tracers: what ``debug_trace*`` and ``trace_*`` answer, heard through `vm.trace.Tracer`."""
