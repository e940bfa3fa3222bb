//! Comma-separated values.
//!
//! A block of about a thousand records is first split into fields (`scan`), then read column by column.

mod decode;
mod fields;
mod infer;
mod mask;
mod scan;

pub(crate) use decode::CsvDecoder;
pub(crate) use fields::{Fields, unquoted};
pub use infer::column_names;
pub(crate) use infer::infer;
pub(crate) use scan::Boundaries;

/// The columns' names as a header's fields give them, made distinct and not empty: inference and decoding
/// must agree on them.
fn distinct_names(header: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (index, field) in header.iter().enumerate() {
        let wanted = if field.is_empty() { format!("column_{}", index + 1) } else { field.clone() };
        let taken = |name: &String| names.contains(name) || (*name != wanted && header.contains(name));
        let name = if taken(&wanted) {
            (2..).map(|n| format!("{wanted}_{n}")).find(|name| !taken(name)).unwrap_or_default()
        } else {
            wanted
        };
        names.push(name);
    }
    names
}
