use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tidegate_infrastructure::files::{self, Access};
use tidegate_model::{Code, Fault, Result, from_yaml, suggestion, tame};

use super::Publisher;
use super::key::PublicKey;
use crate::principal::Principal;
use crate::yaml::scalar;

/// Characters of a publisher's name.
const LONGEST_NAME: usize = 100;

/// The publishers that this user trusts: a folder of small files, one a key, which people can read.
///
/// It lies outside of every project. A project's folder may come from a repository, and must not bring its
/// own idea of whom to trust.
#[derive(Debug, Clone)]
pub struct Trust {
    folder: PathBuf,
    list: Vec<Trusted>,
}

/// One key, and who began to trust it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    pub name: String,
    pub key: PublicKey,
    pub added_by: String,
    pub added_at: DateTime<Utc>,
}

impl Trusted {
    pub fn publisher(&self) -> Publisher {
        Publisher { name: self.name.clone(), key_id: self.key.id() }
    }

    fn to_yaml(&self) -> String {
        let at = self.added_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let [name, key, by, at] =
            [&self.name, &self.key.to_string(), &self.added_by, &at].map(|text| scalar(text).into_owned());
        format!(
            "# A publisher whose components count as signed.\nname: {name}\nkey: {key}\nadded_by: {by}\nadded_at: {at}\n"
        )
    }
}

impl Trust {
    /// Reads the folder; where there is none, nobody is trusted.
    pub fn load(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let mut list = Vec::new();
        for path in
            files::list(&folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        {
            let trusted: Trusted = from_yaml(&path.display().to_string(), &files::read_to_string(&path)?)?;
            if path != file(&folder, &trusted.key.id()) {
                let message =
                    format!("the key in this file is {}, and its name says another", trusted.key.id());
                return Err(Fault::user(Code::BadFile, message)
                    .help("add publishers with `tidegate plugin trust add`")
                    .at(path.display().to_string(), None, None));
            }
            list.push(trusted);
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { folder, list })
    }

    pub fn list(&self) -> &[Trusted] {
        &self.list
    }

    /// Whoever has that key, if they are trusted. Anybody can make a key with the identifier of another, so
    /// what signs is never looked up by its identifier alone: a signature is verified with what is found.
    pub fn by_id(&self, key_id: &str) -> Option<&Trusted> {
        self.list.iter().find(|trusted| trusted.key.id() == key_id)
    }

    pub fn by_key(&self, key: &PublicKey) -> Option<&Trusted> {
        self.list.iter().find(|trusted| trusted.key == *key)
    }

    /// Trusts a key from now on.
    pub fn add(&mut self, name: &str, key: PublicKey, by: &Principal, at: DateTime<Utc>) -> Result<&Trusted> {
        let plain = !name.trim().is_empty() && tame(name) == name && !name.contains('\n');
        if !plain || name.chars().count() > LONGEST_NAME {
            let message = "a publisher's name is one line of at most 100 characters";
            return Err(Fault::user(Code::BadUsage, message).help("give another with --name"));
        }
        let id = key.id();
        let taken = match (self.by_id(&id), self.list.iter().find(|trusted| trusted.name == name)) {
            (Some(known), _) if known.key != key => Some(format!("another key has the identifier {id}")),
            (Some(known), _) => Some(format!("the key {id} is trusted already, as `{}`", known.name)),
            (None, Some(known)) => Some(format!("`{name}` is the name of the key {}", known.key.id())),
            (None, None) => None,
        };
        if let Some(message) = taken {
            return Err(Fault::user(Code::NoPlugin, message)
                .help(format!("`tidegate plugin trust remove {id}` ends that; or give another --name")));
        }
        let trusted = Trusted { name: name.to_owned(), key, added_by: by.to_string(), added_at: at };
        files::create_private_dir(&self.folder)?;
        files::write_atomic(file(&self.folder, &id), trusted.to_yaml().as_bytes(), Access::Owner)?;
        let place = self.list.partition_point(|known| known.name < trusted.name);
        self.list.insert(place, trusted);
        Ok(&self.list[place])
    }

    /// Who is meant by a name or a key's identifier.
    pub fn find(&self, who: &str) -> Result<&Trusted> {
        let is_meant = |trusted: &&Trusted| trusted.name == who || trusted.key.id().eq_ignore_ascii_case(who);
        self.list.iter().find(is_meant).ok_or_else(|| {
            let names = self.list.iter().map(|trusted| trusted.name.as_str());
            Fault::user(Code::NoPlugin, format!("no publisher `{who}` is trusted"))
                .help(suggestion(who, names))
        })
    }

    /// Trusts a key no longer.
    pub fn remove(&mut self, key: &PublicKey) -> Result<()> {
        files::remove(file(&self.folder, &key.id()))?;
        self.list.retain(|trusted| trusted.key != *key);
        Ok(())
    }
}

fn file(folder: &Path, key_id: &str) -> PathBuf {
    folder.join(format!("{key_id}.yaml"))
}

#[cfg(test)]
mod tests {
    use super::super::secret_key::SecretKey;
    use super::*;

    #[test]
    fn a_trusted_key_is_known_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("publishers");
        let key = || SecretKey::generate(None).unwrap().1;
        let (acme, other) = (key(), key());
        let by = Principal::operator();
        let at = DateTime::UNIX_EPOCH;
        let mut trust = Trust::load(&path).unwrap();
        assert!(trust.list().is_empty());
        trust.add("Acme: data", acme.clone(), &by, at).unwrap();
        for (name, key, expected) in [
            ("Acme: data", other.clone(), "is the name of the key"),
            ("Other", acme.clone(), "is trusted already, as `Acme: data`"),
            ("", other.clone(), "one line"),
            ("a\nb", other.clone(), "one line"),
        ] {
            let refused = trust.add(name, key, &by, at).unwrap_err();
            assert!(refused.message.contains(expected), "{refused}");
        }
        let mut trust = Trust::load(&path).unwrap();
        assert_eq!(trust.by_key(&acme).map(|trusted| trusted.name.as_str()), Some("Acme: data"));
        assert_eq!(trust.by_id(&acme.id()), trust.by_key(&acme));
        assert_eq!(trust.by_key(&other), None);
        assert_eq!(trust.find(&acme.id().to_lowercase()).unwrap().publisher().key_id, acme.id());
        assert!(trust.find("Acme: dat").unwrap_err().to_string().contains("did you mean `Acme: data`?"));
        trust.remove(&acme).unwrap();
        assert!(Trust::load(&path).unwrap().list().is_empty());
    }

    #[test]
    fn a_file_under_another_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut trust = Trust::load(folder.path()).unwrap();
        let key = SecretKey::generate(None).unwrap().1;
        trust.add("Acme", key.clone(), &Principal::operator(), DateTime::UNIX_EPOCH).unwrap();
        let text = files::read(file(folder.path(), &key.id())).unwrap();
        files::write_atomic(file(folder.path(), "0123456789ABCDEF"), &text, Access::Owner).unwrap();
        assert_eq!(Trust::load(folder.path()).unwrap_err().code, Code::BadFile);
    }
}
