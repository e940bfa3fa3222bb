//! What people type, and which installed components they mean by it.

use tidegate_model::{Code, Fault, Result, list, nearest};
use tidegate_permission::Installed;

/// The installed components that somebody means by `NAME@VERSION`, all of that version, or by the beginning of
/// a digest.
pub fn meant(what: &str, records: &[Installed]) -> Result<Vec<Installed>> {
    if what.starts_with("sha256:") {
        return by_digest(what, records).map(|record| vec![record]);
    }
    let Some((name, version)) = what.split_once('@') else {
        let versions: Vec<String> = records
            .iter()
            .filter(|record| record.name == what)
            .map(|record| format!("{what}@{}", record.version))
            .collect();
        let fault = Fault::user(Code::BadUsage, format!("`{what}` does not say which version is meant"));
        return Err(match versions.as_slice() {
            [] => fault.help("write NAME@VERSION or a digest; `tidegate plugin list` shows both"),
            versions => fault.help(format!("write {}, or a digest", list(versions))),
        });
    };
    let found: Vec<Installed> = records
        .iter()
        .filter(|record| record.name == name && record.version.to_string() == version)
        .cloned()
        .collect();
    if found.is_empty() {
        let known: Vec<String> =
            records.iter().map(|record| format!("{}@{}", record.name, record.version)).collect();
        let fault = Fault::user(Code::NoPlugin, format!("`{what}` is not installed"));
        return Err(match nearest(what, known.iter().map(String::as_str)) {
            Some(near) => fault.help(format!("did you mean `{near}`? `tidegate plugin list` shows them all")),
            None => fault.help("`tidegate plugin list` shows what is"),
        });
    }
    Ok(found)
}

/// Digits of a digest that somebody must type at least.
const FEWEST_DIGITS: usize = 8;

/// The installed component whose digest begins so.
pub fn by_digest(what: &str, records: &[Installed]) -> Result<Installed> {
    let found: Vec<&Installed> = records.iter().filter(|record| record.digest.starts_with(what)).collect();
    match found.as_slice() {
        _ if what.len() < "sha256:".len() + FEWEST_DIGITS => {
            Err(Fault::user(Code::BadUsage, format!("`{what}` is too short to say which digest is meant"))
                .help("type at least eight digits after `sha256:`"))
        }
        [only] => Ok((*only).clone()),
        [] => Err(Fault::user(Code::NoPlugin, format!("no installed connector has the digest {what}"))
            .help("`tidegate plugin list` shows the digests")),
        _ => Err(Fault::user(Code::BadUsage, format!("several digests begin with {what}"))
            .help("type more of its digits")),
    }
}
