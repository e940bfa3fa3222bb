//! Whether the audit is what was written.

use std::path::Path;

use serde::Serialize;
use tidegate_infrastructure::AppendedFile;
use tidegate_model::{Code, Fault, Result};

use super::head::{self, Found, Head};
use super::key;
use super::lines::{Line, Lines, Strays, hex};
use super::record::{AuditRecord, VERSION};
use crate::publisher::identifier;

/// An audit in which nothing is amiss.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Records that follow one another without a gap.
    pub records: u64,
    /// When the first and the last of them were made.
    pub first: Option<String>,
    pub last: Option<String>,
    /// How many of them the last seal covers. The others could be cut off and nobody would know.
    pub sealed: u64,
    pub sealed_at: Option<String>,
    /// The identifier of the key that sealed them.
    pub key: Option<String>,
    /// Lines that are no records: cut short and never acknowledged, or of an older version.
    pub stray: u64,
}

/// Reads an audit from its beginning, once, in bounded memory. A fault with [`Code::AuditBroken`] says at which
/// line something is wrong, and what.
pub(super) fn verify(path: &Path, keys: &Path, public: Option<&Path>) -> Result<Verified> {
    let public = key::verifying(public, keys)?;
    let copy = head::copy_path(keys, path);
    let Some(file) = AppendedFile::open_to_read(path)? else {
        return if is_there(&head::beside(path))? || is_there(&copy)? {
            Err(began_anew(broken(path, None, "an audit was sealed here, and is gone"), &copy))
        } else {
            Ok(Verified::default())
        };
    };
    // Whoever seals waits: a head that is newer than the lines would look like lines cut off.
    let turn = file.turn()?;
    let length = turn.length()?.unwrap_or_default();
    let first = first(&file, length)?;
    let mut heads = Vec::new();
    for place in [head::beside(path), copy.clone()] {
        match public.as_ref().map(|key| head::find(&place, key)).transpose()?.flatten() {
            Some(Found::Good(head)) => heads.push(head),
            Some(Found::Foreign(id)) => {
                return Err(Fault::user(
                    Code::BadUsage,
                    format!("`{}` was signed with the key {id}, which is not the one given", place.display()),
                )
                .help("--key names the audit.pub of whoever sealed it"));
            }
            Some(Found::Bad) => {
                let what = format!("`{}` was changed: its signature does not fit", place.display());
                return Err(broken(path, None, what));
            }
            None => {}
        }
    }
    drop(turn);
    if public.is_none() && is_there(&head::beside(path))? {
        let message = "the audit is sealed, and there is no key to verify that with";
        return Err(
            Fault::user(Code::BadUsage, message).help("--key names the audit.pub of whoever sealed it")
        );
    }
    let head = heads.into_iter().max_by_key(|head| head.count);
    if let (Some(head), Some(first)) = (&head, &first)
        && is_another(first, head)
    {
        return Err(not_that_one(path, &copy));
    }
    let mut walk = Walk::new(head.as_ref());
    let mut lines = Lines::of(&file, 0, length);
    walk.all(&mut lines).map_err(|(line, what)| broken(path, line, what))?;
    let mut verified = Verified {
        records: walk.seq,
        first: walk.first,
        last: walk.last,
        stray: walk.stray,
        ..Verified::default()
    };
    if let Some(head) = head {
        verified.sealed = head.count;
        verified.sealed_at = Some(head.time);
        verified.key = public.map(|key| identifier(key.keynum()));
    }
    Ok(verified)
}

fn is_there(path: &Path) -> Result<bool> {
    Ok(tidegate_infrastructure::files::read_if_exists(path)?.is_some())
}

/// What lies where an audit was sealed is another one.
pub(super) fn not_that_one(path: &Path, copy: &Path) -> Fault {
    began_anew(broken(path, None, "this is not the audit that was sealed here"), copy)
}

fn began_anew(fault: Fault, copy: &Path) -> Fault {
    let copy = copy.display();
    fault.help(format!("somebody removed it, or moved another here; if that was meant to be, remove {copy} and audit.head.minisig, and the next seal is a first one"))
}

fn broken(path: &Path, line: Option<u64>, what: impl Into<String>) -> Fault {
    let fault = Fault::external(Code::AuditBroken, what).at(path.display().to_string(), line, None);
    fault.help("keep a copy of the file: it was not Tidegate that did this, and what came before holds")
}

/// The first record there is.
pub(super) fn first(file: &AppendedFile, length: u64) -> Result<Option<AuditRecord>> {
    let mut lines = Lines::of(file, 0, length);
    while let Some(line) = lines.next()? {
        if let Some(record) = record(&line) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// Whether an audit that begins with this record is another one than that was sealed: a chain has its name from what
/// its first record says came before.
pub(super) fn is_another(first: &AuditRecord, sealed: &Head) -> bool {
    first.seq == 1 && first.prev != sealed.chain
}

/// What is wrong, and at which line.
type Wrong = (Option<u64>, String);

/// One way along the chain, record by record.
#[derive(Debug, Default)]
pub(super) struct Walk<'a> {
    head: Option<&'a Head>,
    /// The last record's number, hash, place in the file, and line.
    pub(super) seq: u64,
    pub(super) hash: String,
    pub(super) at: u64,
    line: u64,
    /// The line that is looked at.
    now: u64,
    first: Option<String>,
    last: Option<String>,
    strays: Strays,
    stray: u64,
}

impl<'a> Walk<'a> {
    fn new(head: Option<&'a Head>) -> Self {
        Self { head, ..Self::default() }
    }

    /// The way from the last sealed record, or from the beginning, to the end.
    pub(super) fn from(file: &AppendedFile, length: u64, head: Option<&'a Head>) -> Result<Self> {
        let mut walk = Self::new(head);
        let mut lines = Lines::of(file, head.map_or(0, |head| head.at), length);
        if let Some(head) = head {
            // The sealed record is where it was; what came before it is `verify`'s to look at.
            walk.seq = head.count.saturating_sub(1);
            let sealed = lines.next()?.filter(|line| hex(&line.hash) == head.last);
            let Some(line) = sealed else {
                return Err(broken(file.path(), None, "what was sealed before is no longer there"));
            };
            walk.pass(&line, head.count, "");
        }
        walk.all(&mut lines).map_err(|_| {
            broken(file.path(), None, "what was recorded since it was last sealed does not hold")
        })?;
        Ok(walk)
    }

    fn all(&mut self, lines: &mut Lines) -> Result<(), Wrong> {
        while let Some(line) = lines.next().map_err(|fault| (None, fault.message))? {
            self.now += 1;
            // One without a break at the very end may be cut short, and still read well by chance.
            let whole =
                |record: &AuditRecord| line.ended || (record.seq == self.seq + 1 && record.prev == self.hash);
            match record(&line).filter(whole) {
                Some(record) => {
                    if let Err(what) = self.step(&line, &record) {
                        return Err(self.blame(lines, &line, &record, what));
                    }
                }
                None => self.strays.add(&line),
            }
        }
        self.end()
    }

    fn step(&mut self, line: &Line, record: &AuditRecord) -> Result<(), Mismatch> {
        let count = self.strays.count;
        if self.strays.take() != record.stray {
            return Err(Mismatch::Strays(count));
        }
        if record.seq != self.seq + 1 {
            return Err(Mismatch::Number);
        }
        if self.seq > 0 && record.prev != self.hash {
            return Err(Mismatch::Hash);
        }
        self.stray += count;
        self.pass(line, record.seq, &record.time);
        let sealed = self.head.filter(|head| head.count == self.seq);
        if sealed.is_some_and(|head| head.last != self.hash) {
            return Err(Mismatch::Seal);
        }
        Ok(())
    }

    fn pass(&mut self, line: &Line, seq: u64, time: &str) {
        (self.seq, self.at, self.line) = (seq, line.begins, self.now);
        self.hash = hex(&line.hash);
        self.first.get_or_insert_with(|| time.to_owned());
        self.last = Some(time.to_owned());
    }

    fn end(&mut self) -> Result<(), Wrong> {
        let stray = self.strays.count;
        self.stray += stray;
        match self.head {
            Some(head) if head.count > self.seq => {
                let also = if stray > 0 { "; the last line is no record" } else { "" };
                let what = format!(
                    "lines were cut off at the end: {} records were sealed at {}, {} are there{also}",
                    head.count, head.time, self.seq
                );
                Err((Some(self.now), what))
            }
            _ => Ok(()),
        }
    }

    /// Which line it was, as far as those behind can tell, and what was done to it.
    fn blame(&self, rest: &mut Lines, line: &Line, record: &AuditRecord, what: Mismatch) -> Wrong {
        let now = self.now;
        match what {
            Mismatch::Strays(0) => {
                (Some(now), format!("what stood before line {now}, which it knows of, was taken out"))
            }
            Mismatch::Strays(_) => {
                let first = self.line + 1;
                (
                    Some(first),
                    format!("line {first} was changed or put in: it is no record that line {now} knows of"),
                )
            }
            Mismatch::Seal => {
                let when = self.head.map_or("", |head| head.time.as_str());
                let what = format!(
                    "line {now} is not the one that was sealed at {when}: it, or all before it, was written anew"
                );
                (Some(now), what)
            }
            Mismatch::Hash => {
                let before = self.line;
                match self.behind(rest, line).vouches {
                    Some(true) => {
                        (Some(before), format!("line {before} was changed after line {now} was written"))
                    }
                    Some(false) => {
                        (Some(now), format!("line {now} was changed after the line behind it was written"))
                    }
                    None => (
                        Some(now),
                        format!(
                            "line {before} or {now} was changed: the second holds another hash of the first"
                        ),
                    ),
                }
            }
            Mismatch::Number if record.seq <= self.seq => {
                (Some(now), format!("line {now} was put in: record {} was there before", record.seq))
            }
            Mismatch::Number => {
                let behind = self.behind(rest, line);
                let (wanted, found) = (self.seq + 1, record.seq);
                if let Some(place) = behind.wanted {
                    return (
                        Some(now),
                        format!(
                            "lines are out of order: record {wanted} stands at line {place}, behind record {found}"
                        ),
                    );
                }
                if behind.vouches == Some(false) {
                    return (
                        Some(now),
                        format!(
                            "line {now} was changed: it says that it is record {found}, and it should be {wanted}"
                        ),
                    );
                }
                let missing = if found - wanted == 1 {
                    format!("record {wanted} is")
                } else {
                    format!("records {wanted} to {} are", found - 1)
                };
                (Some(now), format!("{missing} missing before line {now}"))
            }
        }
    }

    /// What the lines behind say of one.
    fn behind(&self, rest: &mut Lines, line: &Line) -> Behind {
        let mut behind = Behind::default();
        let mut now = self.now;
        while let Ok(Some(later)) = rest.next() {
            now += 1;
            let Some(record) = record(&later) else { continue };
            behind.vouches.get_or_insert(record.prev == hex(&line.hash));
            if record.seq == self.seq + 1 {
                behind.wanted = Some(now);
                break;
            }
        }
        behind
    }
}

#[derive(Debug, Default)]
struct Behind {
    /// Whether the next record holds the line's hash.
    vouches: Option<bool>,
    /// At which line the record stands that was expected.
    wanted: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Mismatch {
    Number,
    Hash,
    /// So many lines that are no records are not those that the record knows of.
    Strays(u64),
    Seal,
}

fn record(line: &Line) -> Option<AuditRecord> {
    AuditRecord::read(&line.bytes).filter(|record| record.v == VERSION)
}
