//! Where a load goes, and what lies there: a folder, or a bucket of an S3 server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::{CREDENTIALS, Project, Server, python_command};

pub enum Lake {
    Folder(PathBuf),
    Bucket(Server),
}

impl Lake {
    pub fn folder(project: &Project) -> Self {
        Self::Folder(project.path("lake"))
    }

    pub fn bucket(project: &mut Project) -> Self {
        for (name, value) in CREDENTIALS {
            project.variable(name, value);
        }
        project.variable("AWS_REGION", "us-east-1");
        Self::Bucket(Server::start("s3_server.py", &[]))
    }

    /// A table of the stream `flights`, in a location of its own.
    pub fn table(&self, location: &str) -> Table<'_> {
        Table { lake: self, location: location.to_owned() }
    }

    /// Engines that we did not write, to read tables with: `read_table.py`.
    pub fn reader(&self) -> Server {
        let mut command = python_command("read_table.py");
        command.args(["--serve", "--key", "id", "--sum", "distance"]);
        if let Self::Bucket(server) = self {
            command.args(["--s3", &server.address]).envs(CREDENTIALS);
        }
        Server::of(&mut command)
    }
}

pub struct Table<'a> {
    lake: &'a Lake,
    location: String,
}

impl Table<'_> {
    /// As the pipeline file says it, with the options it needs.
    pub fn location(&self) -> String {
        match self.lake {
            Lake::Folder(folder) => folder.join(&self.location).display().to_string(),
            Lake::Bucket(server) => format!(
                "s3://lake/{}\n  options: {{ aws_endpoint: \"{}\", aws_allow_http: \"true\" }}",
                self.location, server.address
            ),
        }
    }

    /// As other engines know it.
    pub fn address(&self) -> String {
        match self.lake {
            Lake::Folder(folder) => folder.join(&self.location).join("flights").display().to_string(),
            Lake::Bucket(_) => format!("s3://lake/{}/flights", self.location),
        }
    }

    /// The files below a folder (empty, or with a slash at its end) of the location, relative to the
    /// location: what lies below `flights/` is the table's.
    pub fn names(&self, below: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        match self.lake {
            Lake::Folder(folder) => walk(&folder.join(&self.location).join(below), below, &mut names),
            Lake::Bucket(server) => {
                let prefix = format!("{}/", self.location);
                let keys = server.ask(&format!("list {prefix}{below}"));
                names.extend(
                    keys.as_array()
                        .unwrap()
                        .iter()
                        .map(|key| key.as_str().unwrap().strip_prefix(&prefix).unwrap().to_owned()),
                );
            }
        }
        names
    }

    /// One of them. None: it is gone by now.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.lake {
            Lake::Folder(folder) => std::fs::read_to_string(folder.join(&self.location).join(name)).ok(),
            Lake::Bucket(server) => {
                server.ask(&format!("text {}/{name}", self.location)).as_str().map(str::to_owned)
            }
        }
    }

    pub fn remove(&self) {
        match self.lake {
            Lake::Folder(folder) => std::fs::remove_dir_all(folder.join(&self.location)).unwrap(),
            Lake::Bucket(server) => {
                server.ask(&format!("drop {}/", self.location));
            }
        }
    }
}

/// Looks while others work there, so what is gone by the time it is looked at is left out.
fn walk(folder: &Path, below: &str, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), &format!("{name}/"), names);
        } else {
            names.insert(name);
        }
    }
}
