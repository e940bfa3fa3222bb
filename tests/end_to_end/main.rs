//! The whole platform as people meet it: the binary, real files, real processes, engines we did not write.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests start processes and write files, and stop where they cannot"
)]

mod audit;
mod bad_input;
#[cfg(target_arch = "x86_64")]
mod confinement;
mod crash;
mod grants;
mod harness;
mod hostile;
mod https;
mod landing;
mod object_store;
mod other_clients;
mod plugins;
mod scaffold;
mod secrets;
mod store;
mod users;
