use std::path::PathBuf;

use crate::endpoint::{Endpoint, climbs};

/// A local location, split where what was granted ends: what is beyond it must not be able to lead out of it
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What was granted, as people meant it: links in it may be followed. Relative ones start where the order
    /// says.
    pub root: PathBuf,
    /// Names below the root, with `/` between them; empty for the root itself.
    pub below: String,
}

/// Where files are, taken apart so that "below" means below and not "starts with the same letters".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// Of this machine. Relative ones start at the pipeline file's folder, and may climb (`..`) before
    /// anything else.
    Local {
        absolute: bool,
        segments: Vec<String>,
    },
    /// In an object store: `s3://bucket`, and the key's parts as they are.
    Store {
        root: String,
        segments: Vec<String>,
    },
    Web(Endpoint),
}

impl Location {
    /// Reads a location; says why it is none that can be granted.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.chars().any(char::is_control) {
            return Err("it has control characters in it");
        }
        match text.split_once("://") {
            None => Self::local(text),
            Some((scheme, _))
                if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
            {
                Endpoint::parse(text).map(Self::Web)
            }
            Some((scheme, rest)) => Self::store(scheme, rest),
        }
    }

    fn local(text: &str) -> Result<Self, &'static str> {
        let absolute = text.starts_with('/');
        let segments: Vec<String> =
            text.split('/').filter(|part| !["", "."].contains(part)).map(str::to_owned).collect();
        let names = segments.iter().skip_while(|part| !absolute && *part == "..");
        if names.clone().any(|part| part == "..") {
            return Err("it climbs (`..`) after it went down");
        }
        Ok(Self::Local { absolute, segments })
    }

    fn store(scheme: &str, rest: &str) -> Result<Self, &'static str> {
        if !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) || scheme.eq_ignore_ascii_case("file") {
            return Err("its scheme is not one of an object store");
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', '?', '#', '\\', '%']) {
            return Err("it does not name a bucket");
        }
        let key = key.strip_suffix('/').unwrap_or(key);
        let segments: Vec<String> = key.split('/').filter(|_| !key.is_empty()).map(str::to_owned).collect();
        if segments.iter().any(|part| part == "." || climbs(part)) {
            return Err("its path has `.` or `..` in it");
        }
        Ok(Self::Store { root: format!("{}://{bucket}", scheme.to_ascii_lowercase()), segments })
    }

    /// Whether this lies where the kernel shows processes and devices as files.
    pub(crate) fn is_the_kernels(&self) -> bool {
        matches!(
            self,
            Self::Local { absolute: true, segments }
                if segments.first().is_some_and(|top| ["proc", "sys", "dev"].contains(&top.as_str()))
        )
    }

    /// Whether a grant for this allows `asked`: this location and everything below it.
    pub(crate) fn covers(&self, asked: &Self) -> bool {
        match (self, asked) {
            (
                Self::Local { absolute, segments },
                Self::Local { absolute: asked_absolute, segments: asked },
            ) => absolute == asked_absolute && is_below(segments, asked),
            (Self::Store { root, segments }, Self::Store { root: asked_root, segments: asked }) => {
                root == asked_root && is_below(segments, asked)
            }
            (Self::Web(granted), Self::Web(asked)) => granted.covers(asked),
            _ => false,
        }
    }

    /// Splits `asked` where this ends, when both are local and this covers it.
    pub(crate) fn split(&self, asked: &Self) -> Option<Granted> {
        let (Self::Local { absolute, segments }, Self::Local { segments: parts, .. }) = (self, asked) else {
            return None;
        };
        let rest = parts.strip_prefix(segments.as_slice()).filter(|_| self.covers(asked))?;
        let start = PathBuf::from(if *absolute { "/" } else { "." });
        Some(Granted {
            root: segments.iter().fold(start, |root, part| root.join(part)),
            below: rest.join("/"),
        })
    }
}

fn is_below(granted: &[String], asked: &[String]) -> bool {
    asked.strip_prefix(granted).is_some_and(|rest| !rest.iter().any(|part| part == ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(granted: &str, asked: &str) -> bool {
        let granted = Location::parse(granted).unwrap();
        Location::parse(asked).is_ok_and(|asked| granted.covers(&asked))
    }

    #[test]
    fn a_granted_location_covers_itself_and_what_is_below() {
        for (granted, asked, expected) in [
            ("./data", "./data", true),
            ("./data", "data", true),
            ("./data", "./data/", true),
            ("./data", "./data/2013/flights.csv", true),
            ("./data", ".//data/./2013//x", true),
            ("./data", "./database", false),
            ("./data", "./data/../secret", false),
            ("./data", "./data/..", false),
            ("./data", "..", false),
            ("./data", "/data", false),
            ("./data", ".", false),
            ("./data", "", false),
            ("./data", "./data/a\0b", false),
            ("./data", "./data/...", true),
            ("./data/flights.csv", "./data/flights.csv", true),
            ("./data/flights.csv", "./data/flights.csv.key", false),
            (".", "./anything/below", true),
            (".", "../x", false),
            (".", "/etc/passwd", false),
            ("..", "../x", true),
            ("..", "../../x", false),
            ("../data", "../data/x", true),
            ("../data", "../../data/x", false),
            ("/", "/etc/passwd", true),
            ("/srv/data", "/srv/data/../../etc/passwd", false),
            ("/srv/data", "/../srv/data", false),
            ("s3://bucket/lake", "s3://bucket/lake/x.parquet", true),
            ("s3://bucket/lake/", "s3://bucket/lake", true),
            ("s3://bucket", "s3://bucket/any", true),
            ("s3://bucket/lake", "S3://bucket/lake/x", true),
            ("s3://bucket/lake", "s3://bucket/lakeside", false),
            ("s3://bucket/lake", "s3://bucket//lake/x", false),
            ("s3://bucket/lake", "s3://bucket/lake/../x", false),
            ("s3://bucket/lake", "s3://bucket/lake/%2e%2e/x", false),
            ("s3://bucket/lake", "s3://bucket2/lake/x", false),
            ("s3://bucket/lake", "gs://bucket/lake/x", false),
            ("s3://bucket/lake", "bucket/lake/x", false),
            (".", "file:///etc/passwd", false),
            (".", "a/b://c", false),
            ("https://x.org/data", "https://x.org/data/a.csv", true),
            ("https://x.org/data", "HTTPS://x.org/data/a.csv", true),
            ("https://x.org/data", "https://x.org/data/../a.csv", false),
            ("https://x.org/data", "https://y.org/data/a.csv", false),
        ] {
            assert_eq!(covers(granted, asked), expected, "{granted} and {asked}");
        }
    }

    #[test]
    fn a_location_is_split_where_the_grant_ends() {
        let split = |granted: &str, asked: &str| {
            let split = Location::parse(granted).unwrap().split(&Location::parse(asked).unwrap());
            split.map(|split| (split.root.to_str().unwrap().to_owned(), split.below))
        };
        for (granted, asked, root, below) in [
            ("./data", "data/", "./data", ""),
            ("./data", "./data/./up//x", "./data", "up/x"),
            (".", "data", ".", "data"),
            ("../data", "../data/x", "./../data", "x"),
            ("/srv", "/srv/data/x", "/srv", "data/x"),
            ("/", "/srv", "/", "srv"),
        ] {
            assert_eq!(split(granted, asked), Some((root.to_owned(), below.to_owned())), "{granted} {asked}");
        }
        for (granted, asked) in
            [("./data", "./secret"), (".", "../x"), ("/data", "data"), ("s3://b", "s3://b/x")]
        {
            assert_eq!(split(granted, asked), None, "{granted} {asked}");
        }
    }

    /// Where a relative path leads, counted in folders from where it starts; `None` when it climbs above
    /// that.
    fn lead(path: &str) -> Option<Vec<&str>> {
        let mut place = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(place.pop()?),
                name => place.push(name),
            }
        }
        Some(place)
    }

    #[test]
    fn nothing_that_is_covered_leads_elsewhere() {
        let parts = ["..", ".", "/", "data", "x"];
        let mut texts = vec![String::new()];
        let mut covered = 0;
        for _ in 0..7 {
            texts = texts.iter().flat_map(|text| parts.map(|part| format!("{text}{part}"))).collect();
            for text in texts.iter().filter(|text| covers("./data", text)) {
                covered += 1;
                let place = lead(text).filter(|_| !text.starts_with('/'));
                assert_eq!(place.as_ref().and_then(|place| place.first()), Some(&"data"), "{text}");
            }
        }
        assert!(covered > 1000, "the test looks at something");
    }
}
