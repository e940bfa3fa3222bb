//! Questions that people type.

use tidegate_model::{Code, Fault, Permission, PipelineName, Result, StreamName, list, suggestion};

use crate::socket::Socket;
use crate::vocabulary::{Action, Resource};

impl Action {
    /// As the audit writes it: `files.read`.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.iter().map(|action| action.as_str());
            Fault::user(Code::BadUsage, format!("there is no action `{name}`")).help(suggestion(name, known))
        })
    }
}

impl Resource {
    /// What an action is asked about, as people write it: a location, `GET https://...`, `IP of ENDPOINT`,
    /// `HOST:PORT`, a slot, a digest, a stream, a secret's reference. `bound`: the credentials of the
    /// component that is meant.
    pub fn asked(action: Action, text: &str, pipeline: &PipelineName, bound: &[Permission]) -> Result<Self> {
        let own = || text.to_owned();
        let wrong = |wanted: &str| {
            let why = format!("`{text}` is not what `{action}` is asked about");
            Fault::user(Code::BadUsage, why).help(format!("write {wanted}"))
        };
        Ok(match action {
            Action::FilesList | Action::FilesRead => Self::Location(own()),
            Action::HttpRequest => {
                let (method, url) = text.split_once(' ').unwrap_or(("GET", text));
                Self::Endpoint { method: method.to_owned(), url: url.to_owned() }
            }
            Action::HttpConnect | Action::TcpDial => {
                let wanted = "an address and the endpoint that it is of: `127.0.0.1 of https://example.org`";
                let (ip, endpoint) = text.split_once(" of ").ok_or_else(|| wrong(wanted))?;
                let ip = ip.parse().map_err(|_| wrong(wanted))?;
                Self::Address { endpoint: endpoint.to_owned(), ip }
            }
            Action::TcpConnect => {
                let socket = Socket::parse(text).ok_or_else(|| wrong("`HOST:PORT`"))?;
                Self::Socket { host: socket.host().to_string(), port: socket.port() }
            }
            Action::CredentialUse => {
                let (slot, endpoint) = text.split_once(" at ").ok_or_else(|| wrong("`SLOT at ENDPOINT`"))?;
                let bindings = bound.iter().filter_map(|permission| permission.binding.as_ref());
                let binding = bindings.clone().find(|binding| binding.slot == slot).ok_or_else(|| {
                    let known = bindings.map(|binding| binding.slot.as_str());
                    let why = format!("the connector has no slot `{slot}` that is bound to a secret");
                    Fault::user(Code::BadUsage, why).help(suggestion(slot, known))
                })?;
                Self::Credential { binding: binding.clone(), endpoint: endpoint.to_owned() }
            }
            Action::ColumnRead => {
                let wanted = "`STREAM.COLUMN`";
                let (stream, column) = text.rsplit_once('.').ok_or_else(|| wrong(wanted))?;
                let stream = StreamName::new(stream).map_err(|_| wrong(wanted))?;
                Self::Column { stream, column: column.to_owned() }
            }
            Action::DecodeUse => Self::Decoder,
            Action::PluginLoad | Action::PluginInstall | Action::PluginRemove | Action::PluginRevoke => {
                Self::Plugin(own())
            }
            Action::RunStart => Self::Pipeline(pipeline.clone()),
            Action::SinkWrite => Self::Sink(own()),
            Action::StateRead | Action::StateWrite | Action::StateReset => Self::Stream {
                pipeline: pipeline.clone(),
                stream: StreamName::new(text).map_err(|_| wrong("a stream's name"))?,
            },
            Action::GrantAdd | Action::GrantRevoke => {
                let permission = bound.iter().find(|permission| permission.to_string() == text);
                let permission = permission.cloned().ok_or_else(|| {
                    let asked: Vec<String> = bound.iter().map(|one| format!("`{one}`")).collect();
                    wrong(&format!("what the connector asks for: {}", list(&asked)))
                })?;
                let digest = String::new();
                Self::Grant { pipeline: pipeline.clone(), digest, permission, signed: false, days: None }
            }
            Action::PublisherTrust => Self::Publisher(own()),
            Action::SecretRead | Action::SecretWrite | Action::SecretRemove => {
                Self::Secret(text.parse().map_err(|why: String| wrong(&why))?)
            }
            Action::UserWrite | Action::UserRemove => Self::User(own()),
            Action::SecretList
            | Action::SecretRekey
            | Action::UserList
            | Action::PluginList
            | Action::GrantList
            | Action::StoreBackup
            | Action::StoreRestore => Self::Store,
            Action::AuditRead => Self::Audit,
        })
    }
}
