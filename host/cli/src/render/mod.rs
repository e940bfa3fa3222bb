//! What people see. Everything here makes text out of values and touches nothing, so that a test can read it.

mod failure;
mod fault;
mod number;
mod paint;
mod request;
mod streams;
mod summary;
mod table;
mod text;

pub use failure::{Failure, Landed, Part};
pub use fault::fault;
pub use number::{bytes, count, duration, plural, rate};
pub use paint::Paint;
pub use request::request;
pub use streams::streams;
pub use summary::Story;
pub use table::{Align, Table, clip};
pub use text::wrap;
