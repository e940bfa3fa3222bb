//! A generation of a stream: which files it reads, and in which splits.

use serde::{Deserialize, Serialize};
use tidegate_sdk::{Context, Fault, Mode, Plan, PlannedSplit, Reopened, Result, StreamRequest};

use crate::config::Config;
use crate::identity::{self, Seen};
use crate::listing::{self, File, Kind};
use crate::read::{Piece, SplitData};
use crate::schema::{self, Column};
use crate::{describe, lane};

/// Files larger than this are cut in pieces of about this size, where their format allows that.
const PIECE: u64 = 64 << 20;
/// Smaller files share a split until it has this many bytes, or files, or bytes of their names.
const GROUP_BYTES: u64 = 32 << 20;
const GROUP_FILES: usize = 100;
const GROUP_NAMES: usize = 12 << 10;
/// Cuts are made wider, so that there are never more splits than the contract allows.
const MOST_PIECES: u64 = 5_000;
/// What the columns and the token may take of the 64 KiB that the contract gives each.
const MOST_COLUMN_BYTES: usize = 40 << 10;
const MOST_TOKEN_BYTES: usize = 48 << 10;

/// What it takes to recognise a generation's files again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    /// Of the configuration: with another one the same bytes are other rows.
    config: u64,
    files: Files,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Files {
    /// Each by its path and identity.
    Each(Vec<(String, u64)>),
    /// Too many to name: the digest of their identities.
    Digest(u64),
}

pub fn plan(cx: &Context<Config>, request: &StreamRequest) -> Result<Plan> {
    let files = files(cx, request)?;
    let described = describe::stream(cx, &files)?;
    let columns = schema::columns(&described.schema);
    if serde_json::to_vec(&columns)?.len() > MOST_COLUMN_BYTES {
        return Err(Fault::user(
            "limit",
            format!("stream `{}` has too many columns: {}", request.stream, columns.len()),
        ));
    }
    let fresh = fresh(&files, request)?;
    let total: u64 = fresh.iter().map(|file| file.size).sum();
    let mut splits = Splits { columns, splits: Vec::new(), group: Vec::new(), location: &cx.config.location };
    for file in &fresh {
        if file.size == 0 {
            continue;
        }
        match pieces(cx, file, PIECE.max(total / MOST_PIECES))? {
            Some(pieces) => splits.add_alone(file, pieces)?,
            None => splits.add_whole(file)?,
        }
    }
    let splits = splits.finish()?;
    let identities = files.iter().map(identity::of).collect::<Result<Vec<_>>>()?;
    let mut plan = Plan::new(splits).repeatable().with_token(&token(cx, &fresh)?)?;
    plan.bookmark = Some(seen(request)?.with(identities.into_iter()).bookmark());
    Ok(plan)
}

pub fn reopen(cx: &Context<Config>, request: &StreamRequest, token: &[u8]) -> Result<Reopened> {
    let then: Token = serde_json::from_slice(token)
        .map_err(|_| Fault::internal("invalid", "this token was written by another version"))?;
    if then.config != identity::digest(&cx.config)? {
        return Ok(Reopened::Gone("the connector's configuration changed".into()));
    }
    let files = match files(cx, request) {
        Ok(files) => files,
        Err(fault) if fault.code == "not-found" => return Ok(Reopened::Gone(fault.message)),
        Err(fault) => return Err(fault),
    };
    let Files::Each(named) = then.files else {
        let fresh = fresh(&files, request)?;
        return Ok(if digest_of(&fresh)? == then.files {
            Reopened::same()
        } else {
            Reopened::Gone("files were added, changed or removed since then".into())
        });
    };
    for (path, identity) in named {
        let label = if path.is_empty() { &cx.config.location } else { &path };
        match files.iter().find(|file| file.path == path) {
            None => return Ok(Reopened::Gone(format!("{label} is not there any more"))),
            Some(file) if identity::of(file)? != identity => {
                return Ok(Reopened::Gone(format!("{label} changed since then")));
            }
            Some(_) => {}
        }
    }
    Ok(Reopened::same())
}

fn files(cx: &Context<Config>, request: &StreamRequest) -> Result<Vec<File>> {
    listing::streams(cx)?.remove(&request.stream).ok_or_else(|| request.unknown_stream())
}

/// The files of this generation: all, or those that no earlier one read as they are now.
fn fresh<'a>(files: &'a [File], request: &StreamRequest) -> Result<Vec<&'a File>> {
    if request.mode != Mode::Incremental {
        return Ok(files.iter().collect());
    }
    let seen = seen(request)?;
    let mut fresh = Vec::new();
    for file in files {
        if !seen.contains(identity::of(file)?) {
            fresh.push(file);
        }
    }
    Ok(fresh)
}

fn seen(request: &StreamRequest) -> Result<Seen> {
    match (&request.mode, &request.bookmark) {
        (Mode::Incremental, Some(bytes)) => Seen::from_bookmark(bytes),
        _ => Ok(Seen::default()),
    }
}

fn token(cx: &Context<Config>, files: &[&File]) -> Result<Token> {
    let config = identity::digest(&cx.config)?;
    let each =
        files.iter().map(|file| Ok((file.path.clone(), identity::of(file)?))).collect::<Result<Vec<_>>>()?;
    let named = Token { config, files: Files::Each(each) };
    if serde_json::to_vec(&named)?.len() <= MOST_TOKEN_BYTES {
        return Ok(named);
    }
    Ok(Token { config, files: digest_of(files)? })
}

fn digest_of(files: &[&File]) -> Result<Files> {
    let identities = files.iter().map(|file| identity::of(file)).collect::<Result<Vec<_>>>()?;
    Ok(Files::Digest(identity::digest(&identities)?))
}

/// A large file's pieces, or `None` when it is read as a whole.
fn pieces(cx: &Context<Config>, file: &File, every: u64) -> Result<Option<Vec<Piece>>> {
    if file.size <= every {
        return Ok(None);
    }
    let whole = Piece { path: file.path.clone(), size: file.size, range: None, row_groups: Vec::new() };
    if file.is_plain_text() {
        let cuts = lane::cuts(cx, file, every)?;
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([file.size]);
        let ranges = starts.zip(ends).filter(|(start, end)| start < end);
        return Ok(Some(ranges.map(|range| Piece { range: Some(range), ..whole.clone() }).collect()));
    }
    if file.kind == Kind::Parquet {
        let groups = lane::infer(cx, file, 1 << 20)?.row_groups;
        let rows: u64 = groups.iter().sum();
        let rows_a_piece = (u128::from(rows) * u128::from(every) / u128::from(file.size)) as u64;
        let pieces = grouped(&groups, rows_a_piece).into_iter();
        return Ok(Some(pieces.map(|row_groups| Piece { row_groups, ..whole.clone() }).collect()));
    }
    Ok(None)
}

/// Consecutive row groups together until they have enough rows.
fn grouped(rows: &[u64], enough: u64) -> Vec<Vec<u32>> {
    let mut pieces = Vec::new();
    let (mut piece, mut sum) = (Vec::new(), 0);
    for (index, rows) in (0..).zip(rows) {
        piece.push(index);
        sum += rows;
        if sum >= enough {
            pieces.push(std::mem::take(&mut piece));
            sum = 0;
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Splits under construction.
struct Splits<'a> {
    columns: Vec<Column>,
    location: &'a str,
    splits: Vec<PlannedSplit>,
    /// Whole files that will share a split.
    group: Vec<&'a File>,
}

impl<'a> Splits<'a> {
    fn add_whole(&mut self, file: &'a File) -> Result<()> {
        let names: usize = self.group.iter().map(|file| file.path.len() + 40).sum();
        let bytes: u64 = self.group.iter().map(|file| file.size).sum();
        let full = self.group.len() >= GROUP_FILES
            || bytes + file.size > GROUP_BYTES
            || names + file.path.len() > GROUP_NAMES;
        if full {
            self.close_group()?;
        }
        self.group.push(file);
        Ok(())
    }

    fn close_group(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        let Some(first) = group.first() else { return Ok(()) };
        let label = match group.len() {
            1 => first.label(self.location),
            count => format!("{} and {} more", first.label(self.location), count - 1),
        };
        let bytes = group.iter().map(|file| file.size).sum();
        let pieces = group.into_iter().map(|file| Piece {
            path: file.path.clone(),
            size: file.size,
            range: None,
            row_groups: Vec::new(),
        });
        self.push(&label, pieces.collect(), Some(bytes))
    }

    fn add_alone(&mut self, file: &File, pieces: Vec<Piece>) -> Result<()> {
        let count = pieces.len();
        for (index, piece) in pieces.into_iter().enumerate() {
            let bytes = piece.range.map_or(file.size / count as u64, |(start, end)| end - start);
            let label = format!("{} ({} of {count})", file.label(self.location), index + 1);
            self.push(&label, vec![piece], Some(bytes))?;
        }
        Ok(())
    }

    fn push(&mut self, label: &str, pieces: Vec<Piece>, bytes: Option<u64>) -> Result<()> {
        let data = SplitData { columns: self.columns.clone(), pieces };
        // The end of a long path tells more than its beginning.
        let start = label.ceil_char_boundary(label.len().saturating_sub(200));
        self.splits.push(PlannedSplit::new(&label[start..], &data)?.with_estimate(None, bytes));
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<PlannedSplit>> {
        self.close_group()?;
        Ok(self.splits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CompressionName;

    fn file(path: &str, size: u64) -> File {
        File {
            path: path.into(),
            size,
            modified: Some(1),
            version: None,
            kind: Kind::Ndjson,
            compression: CompressionName::None,
        }
    }

    fn labels(files: &[File]) -> Vec<String> {
        let mut splits =
            Splits { columns: Vec::new(), splits: Vec::new(), group: Vec::new(), location: "x/one.csv" };
        files.iter().try_for_each(|file| splits.add_whole(file)).unwrap();
        splits.finish().unwrap().into_iter().map(|split| split.label).collect()
    }

    #[test]
    fn small_files_share_a_split() {
        let many: Vec<_> = (0..250).map(|n| file(&format!("{n:03}.ndjson"), 10)).collect();
        assert_eq!(
            labels(&many),
            ["000.ndjson and 99 more", "100.ndjson and 99 more", "200.ndjson and 49 more"]
        );
        let large = [file("a", 20 << 20), file("b", 20 << 20), file("c", 1)];
        assert_eq!(labels(&large), ["a", "b and 1 more"]);
        let long: Vec<_> = (0..30).map(|n| file(&format!("{n:02}{}", "x".repeat(1000)), 10)).collect();
        assert_eq!(labels(&long).len(), 3);
        assert!(labels(&long).iter().all(|label| label.len() <= 200));
        assert_eq!(labels(&[file("", 1)]), ["one.csv"]);
        assert_eq!(labels(&[]), Vec::<String>::new());
    }

    #[test]
    fn row_groups_are_taken_together() {
        assert_eq!(grouped(&[10, 10, 10, 10, 10], 20), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(grouped(&[10, 10], 5), [vec![0], vec![1]]);
        assert!(grouped(&[], 5).is_empty());
    }

    #[test]
    fn incremental_reads_what_is_new_or_changed() {
        let before = [file("a", 1), file("b", 1)];
        let seen = Seen::default().with(before.iter().map(|file| identity::of(file).unwrap()));
        let now = [file("a", 1), file("b", 2), file("c", 1)];
        let request = |mode| StreamRequest {
            stream: "s".into(),
            mode,
            cursor: None,
            key: Vec::new(),
            since: None,
            bookmark: Some(seen.bookmark()),
        };
        let paths = |mode| -> Vec<String> {
            fresh(&now, &request(mode)).unwrap().into_iter().map(|file| file.path.clone()).collect()
        };
        assert_eq!(paths(Mode::Incremental), ["b", "c"]);
        assert_eq!(paths(Mode::Full), ["a", "b", "c"]);
    }
}
