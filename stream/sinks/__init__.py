"""Where changes of alerts go: one module per kind of sink, and the dispatcher that feeds them."""
