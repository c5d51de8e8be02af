"""The terminal debugger: keys become commands to a node, its answers one view, and the view the content of panes."""
