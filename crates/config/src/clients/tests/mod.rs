//! Tables of configurations and what comes of them.

mod plans;
