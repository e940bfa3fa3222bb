//! As much of PostgreSQL's protocol, version 3.0, as a simple query needs.

use std::io::{Read, Write};

use tidegate_sdk::{Fault, Result};

/// What a query gave, as text.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// Fails unless the server agrees.
pub(crate) fn ask_for_tls(stream: &mut (impl Read + Write)) -> Result<()> {
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    match answer {
        [b'S'] => Ok(()),
        [other] => Err(Fault::external("unsupported", format!("no TLS: `{}`", other.escape_ascii()))),
    }
}

pub(crate) fn startup(stream: &mut impl Write, user: &str, database: &str) -> Result<()> {
    let parameters = format!("user\0{user}\0database\0{database}\0\0");
    let length = (parameters.len() as u32 + 8).to_be_bytes();
    stream.write_all(&[&length[..], &[0, 3, 0, 0], parameters.as_bytes()].concat())?;
    Ok(())
}

pub(crate) fn query(stream: &mut (impl Read + Write), sql: &str) -> Result<Table> {
    let length = (sql.len() as u32 + 5).to_be_bytes();
    stream.write_all(&[b"Q", &length[..], sql.as_bytes(), &[0]].concat())?;
    until_ready(stream)
}

/// All that comes before the server is ready for the next query.
pub(crate) fn until_ready(stream: &mut impl Read) -> Result<Table> {
    let mut table = Table::default();
    let mut failed = None;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        stream.read_exact(&mut body)?;
        match kind {
            b'T' => table.columns = columns(&body)?,
            b'D' => table.rows.push(row(&body)?),
            b'E' => failed = Some(String::from_utf8_lossy(&body).replace('\0', " ")),
            b'Z' => break,
            // Parameters, the key for cancelling, the end of a command.
            _ => {}
        }
    }
    match failed {
        Some(words) => Err(Fault::external("failed", words)),
        None => Ok(table),
    }
}

fn columns(mut body: &[u8]) -> Result<Vec<String>> {
    let count = u16::from_be_bytes(*taken(&mut body)?);
    let column = |_| {
        let end = body.iter().position(|byte| *byte == 0).ok_or_else(cut_off)?;
        let name = String::from_utf8_lossy(&body[..end]).into_owned();
        body = &body[end + 1..];
        // Table, column, type, size, modifier, format.
        taken::<18>(&mut body)?;
        Ok(name)
    };
    (0..count).map(column).collect()
}

fn row(mut body: &[u8]) -> Result<Vec<Option<String>>> {
    let count = u16::from_be_bytes(*taken(&mut body)?);
    let value = |_| {
        let length = i32::from_be_bytes(*taken(&mut body)?);
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        let (value, rest) = body.split_at_checked(length).ok_or_else(cut_off)?;
        body = rest;
        Ok(Some(String::from_utf8_lossy(value).into_owned()))
    };
    (0..count).map(value).collect()
}

fn taken<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N]> {
    let (taken, rest) = bytes.split_first_chunk().ok_or_else(cut_off)?;
    *bytes = rest;
    Ok(taken)
}

fn cut_off() -> Fault {
    Fault::external("failed", "a message ends before its content does")
}
