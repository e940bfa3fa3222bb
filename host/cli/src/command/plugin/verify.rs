use serde_json::{Value, json};
use tidegate_infrastructure::DataDir;
use tidegate_model::{Code, Fault, Result, short_digest, suggestion, tame};
use tidegate_permission::{Action, Installed, Resource, Revocations, Trust};
use tidegate_sandbox::{digest, inspect};

use super::Context;
use crate::operator::Operator;
use crate::plugins::{self, Shelf, Vouched};
use crate::render::{Paint, plural, wrap};
use crate::terminal::Reply;

/// One component, compared with what is on record about it.
struct Verdict {
    name: String,
    digest: String,
    /// What is right, to read: `signed by Acme, key 0123456789ABCDEF`.
    detail: String,
    problems: Vec<String>,
}

pub fn verify(cx: &Context, data_dir: &DataDir, name: Option<&str>) -> Result<Reply> {
    let shelf = Shelf::of(data_dir)?;
    let records = shelf.records()?;
    let meant: Vec<&Installed> =
        records.iter().filter(|record| name.is_none_or(|name| record.name == name)).collect();
    if let Some(name) = name.filter(|_| meant.is_empty()) {
        let names = records.iter().map(|record| record.name.as_str());
        return Err(
            Fault::user(Code::NoPlugin, format!("`{name}` is not installed")).help(suggestion(name, names))
        );
    }
    let trust = plugins::trust()?;
    let revocations = Revocations::of(data_dir);
    let mut verdicts = Vec::new();
    for record in meant {
        verdicts.push(one(record, &shelf, &trust, &revocations, data_dir)?);
    }
    if name.is_none() {
        verdicts.extend(shelf.strays()?.iter().map(|path| Verdict {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            digest: String::new(),
            detail: String::new(),
            problems: vec![format!(
                "nobody installed it; to do so: tidegate plugin install {}",
                path.display()
            )],
        }));
    }
    let wrong = verdicts.iter().filter(|verdict| !verdict.problems.is_empty()).count();
    let document = json!({
        "verified": verdicts.len() - wrong,
        "wrong": wrong,
        "plugins": verdicts.iter().map(document).collect::<Vec<_>>(),
    });
    Ok(Reply { exit: u8::from(wrong > 0), ..Reply::new(words(&verdicts, cx.terminal.paint()), document) })
}

/// Whatever is wrong is one more line: whoever investigates wants all of it.
fn one(
    record: &Installed,
    shelf: &Shelf,
    trust: &Trust,
    revocations: &Revocations,
    data_dir: &DataDir,
) -> Result<Verdict> {
    let mut problems = Vec::new();
    let mut detail = String::new();
    if let Some(revocation) = revocations.find(&record.digest)? {
        // The denial is on record, as it is when somebody tries to run it.
        let digest = Resource::Plugin(record.digest.clone());
        let _ = Operator::new(data_dir, None)?.may(Action::PluginLoad, &digest);
        problems.push(revocation.in_words());
    }
    match plugins::read(&shelf.file(&record.digest)) {
        Err(fault) => problems.push(fault.message),
        Ok(wasm) if digest(&wasm) != record.digest => {
            problems.push(format!("the file was changed: its digest is {}", short_digest(&digest(&wasm))));
        }
        Ok(wasm) => match inspect(&wasm) {
            Err(fault) => problems.push(fault.message),
            Ok(inspection) => {
                let manifest = &inspection.manifest;
                let same = manifest.name == record.name
                    && manifest.version == record.version
                    && manifest.capabilities == record.capabilities
                    && inspection.size == record.size;
                if !same {
                    problems.push("the record says something else of it than it says itself".to_owned());
                }
                match Vouched::of(record.signature.as_deref(), &wasm, &inspection, trust) {
                    Err(fault) => problems.push(fault.message),
                    Ok(vouched) => {
                        detail = vouched.in_words();
                        let lost =
                            record.signed_by.as_ref().filter(|signer| vouched.signer() != Some(*signer));
                        if let Some(signer) = lost {
                            problems.push(format!(
                                "it was signed by {}, key {}, and that key is not trusted any more",
                                signer.publisher.name, signer.publisher.key_id
                            ));
                        }
                    }
                }
            }
        },
    }
    let name = format!("{} {}", record.name, record.version);
    Ok(Verdict { name, digest: record.digest.clone(), detail, problems })
}

fn document(verdict: &Verdict) -> Value {
    json!({
        "name": verdict.name,
        "digest": verdict.digest,
        "detail": verdict.detail,
        "problems": verdict.problems,
    })
}

fn words(verdicts: &[Verdict], paint: Paint) -> String {
    if verdicts.is_empty() {
        return "Nothing is installed but what comes with this binary.\n".to_owned();
    }
    let mut text = String::new();
    for verdict in verdicts {
        let mark = if verdict.problems.is_empty() { paint.green("good ") } else { paint.red("WRONG") };
        text.push_str(&format!("{mark}  {} {}\n", tame(&verdict.name), short_digest(&verdict.digest)));
        for line in verdict.problems.iter().chain((!verdict.detail.is_empty()).then_some(&verdict.detail)) {
            text.push_str(&format!("       {}\n", wrap(&tame(line), 76, "       ")));
        }
    }
    let wrong = verdicts.iter().filter(|verdict| !verdict.problems.is_empty()).count();
    text.push_str(&match wrong {
        0 => format!(
            "\n{}\n",
            paint.green(&format!("{} as on record", plural(verdicts.len() as u64, "component")))
        ),
        _ => format!(
            "\n{}\n",
            paint.red(&format!("{wrong} of {} wrong", plural(verdicts.len() as u64, "component")))
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let verdict = |name: &str, problems: &[&str]| Verdict {
            name: name.into(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            detail: "not signed".into(),
            problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
        };
        let verdicts = [verdict("pages 1.0.0", &[]), verdict("pages 1.1.0", &["the file was changed"])];
        assert_eq!(
            words(&verdicts, Paint::PLAIN),
            "\
good   pages 1.0.0 sha256:abababababab
       not signed
WRONG  pages 1.1.0 sha256:abababababab
       the file was changed
       not signed

1 of 2 components wrong
"
        );
        assert!(words(&verdicts[..1], Paint::PLAIN).ends_with("\n1 component as on record\n"));
    }
}
