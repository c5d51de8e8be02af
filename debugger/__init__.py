"""Debug sessions as pure state machines: commands in, events out."""
