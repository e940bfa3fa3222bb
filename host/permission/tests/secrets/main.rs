//! Secrets at rest: where they can be, who can read them, and what happens when something goes wrong.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests play the parts of others, and stop where they cannot go on"
)]

mod disk;
mod encrypted;
mod rekey;
mod sources;
