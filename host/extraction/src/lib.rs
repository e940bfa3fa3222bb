//! Gets data out of source systems through extractor components.
//!
//! Goal: a source's streams as Arrow, with the checkpoints from which each split can go on. An [`Extractor`]
//! asks a component what there is, a [`Session`] plans one generation of one stream, and a [`Reading`] is one
//! split on its way, in an instance of its own.
//!
//! Never: it writes nothing anywhere, keeps no state between runs, and knows no connector. What a component
//! answers is checked before anybody relies on it.

mod extractor;
mod limits;
mod reading;
mod request;

pub use extractor::{Extractor, Reopened, Session};
pub use reading::Reading;
pub use request::{ConnectorSpec, Plan, Request, SecretSlot, Split, StreamDescription};
pub use tidegate_sandbox::Output;
