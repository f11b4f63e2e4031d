//! Layers around stores, and the order in which they are commonly stacked.
