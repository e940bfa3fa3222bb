//! What a worker says to whoever started it, and hears: one JSON document a line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_model::{Code, Fault, Result};
use zeroize::Zeroizing;

use super::Secret;

/// Bytes around a secret in a document, its slot included; what is longer costs a copy.
const AROUND: usize = 1 << 10;

/// `{"secret":"token"}`, `{"rotate":{"slot":"token","value":"aHVzaA=="}}`, `"standing"`
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// The secret that a slot is bound to.
    Secret(String),
    /// Keep a new value for it.
    Rotate {
        slot: String,
        #[serde(with = "encoded")]
        value: Secret,
    },
    /// Is all that the order permits still granted?
    Standing,
}

/// `{"secret":"aHVzaA=="}`, `"kept"`, `"granted"`, `{"taken_back":{...}}`, `{"refused":{...}}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    #[serde(with = "encoded")]
    Secret(Secret),
    /// The new value is kept for good.
    Kept,
    /// All of it stands.
    Granted,
    /// Something does not, and why the run ends.
    TakenBack(Fault),
    Refused(Fault),
}

impl Question {
    /// Without a line break.
    pub fn to_line(&self) -> Result<Zeroizing<Vec<u8>>> {
        let size = match self {
            Self::Secret(_) | Self::Standing => 0,
            Self::Rotate { value, .. } => value.expose().len(),
        };
        written(self, size)
    }

    pub fn from_line(line: &[u8]) -> Result<Self> {
        read(line)
    }
}

impl Reply {
    /// Without a line break.
    pub fn to_line(&self) -> Result<Zeroizing<Vec<u8>>> {
        let size = match self {
            Self::Secret(value) => value.expose().len(),
            Self::Kept | Self::Granted | Self::TakenBack(_) | Self::Refused(_) => 0,
        };
        written(self, size)
    }

    pub fn from_line(line: &[u8]) -> Result<Self> {
        read(line)
    }
}

/// With room for all of it from the start: a buffer that grows leaves copies behind.
fn written(what: &impl Serialize, secret: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(secret * 4 / 3 + AROUND));
    serde_json::to_writer(&mut *line, what)
        .map_err(|error| Fault::internal(Code::Bug, format!("a line that cannot be written: {error}")))?;
    Ok(line)
}

/// What is wrong is not told: the words may be a secret's.
fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| {
        let (kind, column) = (error.classify(), error.column());
        Fault::internal(Code::Bug, format!("a line about secrets that makes no sense ({kind:?}, {column})"))
    })
}

mod encoded {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Secret, Serializer, Zeroizing};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD.encode(secret.expose()));
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The error would tell a letter of it.
        let value = STANDARD.decode(&*text).map_err(|_| serde::de::Error::custom("no base64"))?;
        Ok(Secret::new(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_mean_the_same_words() {
        let hush = || Secret::new(b"hush\xff\n".to_vec());
        for (question, line) in [
            (Question::Secret("token".into()), r#"{"secret":"token"}"#),
            (
                Question::Rotate { slot: "token".into(), value: hush() },
                r#"{"rotate":{"slot":"token","value":"aHVzaP8K"}}"#,
            ),
            (Question::Standing, r#""standing""#),
        ] {
            assert_eq!(*question.to_line().unwrap(), line.as_bytes());
            assert_eq!(*Question::from_line(line.as_bytes()).unwrap().to_line().unwrap(), line.as_bytes());
        }
        for (reply, line) in [
            (Reply::Secret(hush()), r#"{"secret":"aHVzaP8K"}"#),
            (Reply::Kept, r#""kept""#),
            (Reply::Granted, r#""granted""#),
            (
                Reply::TakenBack(Fault::user(Code::Revoked, "gone")),
                r#"{"taken_back":{"code":"TG0306","domain":"user","retry":"no","message":"gone"}}"#,
            ),
            (
                Reply::Refused(Fault::user(Code::NoSecret, "none")),
                r#"{"refused":{"code":"TG0305","domain":"user","retry":"no","message":"none"}}"#,
            ),
        ] {
            assert_eq!(*reply.to_line().unwrap(), line.as_bytes());
            assert_eq!(*Reply::from_line(line.as_bytes()).unwrap().to_line().unwrap(), line.as_bytes());
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_not_repeated() {
        for line in [
            "",
            "hunter2",
            r#"{"secret":7}"#,
            r#"{"rotate":{"slot":"token","value":"hunter2!"}}"#,
            r#"{"rotate":{"slot":"token","value":"aHVzaA==","hunter2":1}}"#,
            r#"{"hunter2":"token"}"#,
        ] {
            let told = Question::from_line(line.as_bytes()).unwrap_err().to_string();
            assert!(told.starts_with("TG0999") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn no_line_outgrows_its_buffer() {
        let value = Secret::new(vec![0xff; Secret::LONGEST]);
        let question = Question::Rotate { slot: "s".repeat(200), value: value.clone() };
        for (line, size) in [
            (Reply::Secret(value).to_line().unwrap(), Secret::LONGEST),
            (question.to_line().unwrap(), Secret::LONGEST),
        ] {
            assert_eq!(line.capacity(), size * 4 / 3 + AROUND);
        }
    }

    #[test]
    fn a_value_is_not_shown() {
        let question = Question::Rotate { slot: "token".into(), value: Secret::new(b"hunter2".to_vec()) };
        assert_eq!(format!("{question:?}"), r#"Rotate { slot: "token", value: Secret(..) }"#);
    }
}
