//! JSON, by the line or as one document.
//!
//! `split` finds where records begin and end, `members` where the values of each column are in them; then a
//! block is read column by column, as CSV is. Lists and objects inside are taken apart in the same way, when
//! it is their column's turn.

mod column;
mod decode;
mod foreign;
mod infer;
mod lex;
mod members;
mod spans;
mod split;

pub(crate) use decode::JsonDecoder;
pub(crate) use infer::infer;
pub(crate) use lex::unescaped;
pub(crate) use spans::Spans;
