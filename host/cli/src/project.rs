//! A pipeline file and what lies beside it.

use std::path::{Path, PathBuf};

use tidegate_infrastructure::{DataDir, files};
use tidegate_model::{Code, Document, Fault, Pipeline, Result, StreamName, suggestion};

/// What somebody can begin with who has no pipeline file.
const EXAMPLE: &str = "\
pipeline: example
extract:
  connector: files@0.1
  config: { location: ./data }
  streams:
    any: {}
ingest:
  sink: delta
  location: ./lake
";

pub struct Project {
    /// The pipeline file's folder, absolute: relative locations start here.
    pub folder: PathBuf,
    pub pipeline: Pipeline,
    /// The pipeline file as it is written.
    pub document: Document,
    pub data_dir: DataDir,
}

impl Project {
    pub fn open(file: &Path, data_dir: Option<&Path>) -> Result<Self> {
        let text = files::read_to_string(file).map_err(|fault| no_pipeline(fault.message))?;
        let name = file.display().to_string();
        let pipeline = Pipeline::parse(&name, &text)?;
        let document = Document { file: name, text, config: vec!["extract".to_owned(), "config".to_owned()] };
        let folder = folder_of(file)?;
        let data_dir = DataDir::open(absolute(&data_root(&folder, data_dir))?)?;
        Ok(Self { folder, pipeline, document, data_dir })
    }

    pub fn grants(&self) -> PathBuf {
        self.folder.join("grants.yaml")
    }

    pub fn lock(&self) -> PathBuf {
        self.folder.join("tidegate.lock")
    }

    /// Leaves only the streams named; all of them when none is.
    pub fn keep_streams(&mut self, wanted: &[String]) -> Result<()> {
        let streams = &mut self.pipeline.extract.streams;
        for name in wanted {
            if !streams.keys().any(|known| known.as_str() == name) {
                let message = format!("the pipeline `{}` has no stream `{name}`", self.pipeline.pipeline);
                return Err(Fault::user(Code::BadUsage, message)
                    .help(suggestion(name, streams.keys().map(StreamName::as_str))));
            }
        }
        if !wanted.is_empty() {
            streams.retain(|name, _| wanted.iter().any(|wanted| wanted == name.as_str()));
        }
        Ok(())
    }
}

/// Where the platform's own files are: as `--data-dir` says, else `.tidegate` in a folder.
pub fn data_root(folder: &Path, data_dir: Option<&Path>) -> PathBuf {
    data_dir.map_or_else(|| folder.join(".tidegate"), Path::to_owned)
}

/// The folder a file is in, absolute.
pub fn folder_of(file: &Path) -> Result<PathBuf> {
    let absolute = absolute(file)?;
    Ok(absolute.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned))
}

/// The folder that somebody means who names it, or a pipeline file in it.
pub fn folder_or_beside(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.is_file() {
        return folder_of(path);
    }
    Err(no_pipeline(format!("there is no file or folder {}", path.display())))
}

fn no_pipeline(message: String) -> Fault {
    let help = "give the path of a pipeline file; if you have none, `tidegate discover` shows what this one could name:";
    Fault::user(Code::NoPipeline, message).help(format!("{help}\n{EXAMPLE}"))
}

pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Fault::external(Code::Storage, format!("`{}` cannot be made absolute: {error}", path.display()))
    })
}

/// A location, relative ones starting at `folder`, as somebody in the working directory would type it.
pub fn as_typed_here(folder: &Path, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let Ok(path) = absolute(&folder.join(location)) else { return location.to_owned() };
    let here = std::env::current_dir().ok();
    match here.as_deref().and_then(|here| path.strip_prefix(here).ok()) {
        Some(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
        _ => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_pipeline() {
        Pipeline::parse("example.yaml", EXAMPLE).unwrap();
    }

    #[test]
    fn what_lies_below_the_working_directory_is_shown_relative_to_it() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(as_typed_here(&here.join("examples"), "./lake/weather"), "examples/lake/weather");
        assert_eq!(as_typed_here(&here, "/elsewhere/lake"), "/elsewhere/lake");
        assert_eq!(as_typed_here(&here, "s3://bucket/lake"), "s3://bucket/lake");
    }
}
