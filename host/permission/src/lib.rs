//! Every authorization of the platform: may X do Y to Z?
//!
//! Goal: each such question is one call of [`Authorizer::decide`], is answered "no" unless a rule says yes,
//! and leaves a record in the audit. Around it: who can ask ([`Principal`]), what can be asked ([`Action`],
//! [`Resource`]), what a component requests and people granted ([`Review`], [`Grants`], [`Lock`]), and what
//! nobody can grant ([`Ceiling`]).
//!
//! Never: it does not replace an organisation's identity (it believes the operating system about who runs a
//! command), and it does nothing itself of what it decides about.

mod address;
mod audit;
mod authorizer;
mod ceiling;
mod endpoint;
mod grants;
mod location;
mod lock;
mod policy;
mod principal;
mod review;
mod vocabulary;
mod yaml;

pub use address::Address;
pub use audit::{Audit, AuditRecord, Decision};
pub use authorizer::Authorizer;
pub use ceiling::Ceiling;
pub use grants::{Grant, Grants};
pub use location::Granted;
pub use lock::{Lock, Locked};
pub use principal::{Module, Principal};
pub use review::{Requested, Review, Standing};
pub use vocabulary::{Action, Resource};
