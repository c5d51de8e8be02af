"""The tracers of ``debug_trace*`` and ``trace_*``, as implementations of `vm.trace.Tracer`."""
