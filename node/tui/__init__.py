"""The terminal debugger: keys become commands to a node, its answers become one view, the view becomes panes."""
