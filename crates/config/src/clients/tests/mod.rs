//! Tables of configurations and what comes of them; and connections, tokens and proxies within this process.

mod connections;
mod fakes;
mod forwarding;
mod plans;
mod tokens;
