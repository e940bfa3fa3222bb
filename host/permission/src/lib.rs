//! Every authorization of the platform: may X do Y to Z?
//!
//! Goal: each such question is one call of [`Authorizer::decide`], is answered "no" unless a rule says yes,
//! and leaves a record in the audit. Around it: who can ask ([`Principal`]), what can be asked ([`Action`],
//! [`Resource`]), what a component requests and people granted ([`Review`], [`Grants`], [`Lock`]), and what
//! nobody can grant ([`Ceiling`]). And the secrets that decisions are about ([`Sources`]), and whose components
//! these are ([`Installed`], [`Publisher`], [`Trust`], [`Revocations`]), and who people are ([`Users`]).
//!
//! Never: it does not replace an organisation's identity (it believes the operating system about who runs a
//! command), and it does nothing itself of what it decides about.

mod address;
mod asking;
mod audit;
mod authorizer;
mod ceiling;
mod choice;
mod difference;
mod endpoint;
mod explanation;
mod grants;
mod installed;
mod least;
mod location;
mod lock;
mod narrowing;
mod principal;
mod publisher;
mod reach;
mod remedy;
mod review;
mod revocation;
mod risk;
mod roles;
mod rules;
mod secret;
mod socket;
mod taken_back;
mod users;
mod vocabulary;
mod yaml;

pub use address::Address;
pub use audit::{Audit, AuditRecord, Decision, Verified};
pub use authorizer::{Authorizer, Used};
pub use ceiling::{Ceiling, Terms, policies_in_force};
pub use choice::Choice;
pub use difference::{Change, What, request_difference};
pub use endpoint::{is_below, is_private};
pub use explanation::Explanation;
pub use grants::{Allowance, Grant, Grants};
pub use installed::{Installed, Signer, State};
pub use least::least;
pub use location::Granted;
pub use lock::{Lock, Locked};
pub use principal::{Module, Principal};
pub use publisher::{Endorsement, PublicKey, Publisher, SecretKey, Signature, Trust, Trusted};
pub use reach::Reach;
pub use review::{Requested, Review, Standing};
pub use revocation::{Revocation, Revocations};
pub use risk::Risk;
pub use roles::Role;
pub use secret::{
    EncryptedStore, Environment, Held, KeyFile, Listed, NoVault, OpenStore, Question, Reply, Revision,
    Secret, SecretFiles, SecretKeeper, SecretSource, Sources, Vault,
};
pub use socket::Socket;
pub use taken_back::taken_back;
pub use users::{User, Users};
pub use vocabulary::{Action, Resource};
