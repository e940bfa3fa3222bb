//! What can be asked: the one list of actions, and of what they are done to.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use tidegate_model::{Permission, PipelineName, StreamName};
use url::Url;

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// What somebody wants to do. Each goes with one kind of [`Resource`]; asked about another, the
        /// answer is no.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[doc = $doc])+ $name,)+ }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As in the audit: `files.read`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

actions! {
    /// See which files are below a location ([`Resource::Location`]).
    FilesList = "files.list";
    /// Read a file ([`Resource::Location`]).
    FilesRead = "files.read";
    /// Send an HTTP request ([`Resource::Endpoint`]).
    HttpRequest = "http.request";
    /// Open a connection to an address that an endpoint's name resolved to ([`Resource::Address`]).
    HttpConnect = "http.connect";
    /// Use the host's decoders ([`Resource::Decoder`]).
    DecodeUse = "decode.use";
    /// Run a component's code ([`Resource::Plugin`]).
    PluginLoad = "plugin.load";
    /// Start a run, or look at a pipeline's source ([`Resource::Pipeline`]).
    RunStart = "run.start";
    /// Write tables ([`Resource::Sink`]).
    SinkWrite = "sink.write";
    /// See what was extracted so far ([`Resource::Stream`]).
    StateRead = "state.read";
    /// Say what was extracted so far ([`Resource::Stream`]).
    StateWrite = "state.write";
    /// Forget what was extracted so far ([`Resource::Stream`]).
    StateReset = "state.reset";
    /// Grant something to a component ([`Resource::Grant`]).
    GrantAdd = "grant.add";
    /// Take a grant back ([`Resource::Grant`]).
    GrantRevoke = "grant.revoke";
    /// Read the audit ([`Resource::Audit`]).
    AuditRead = "audit.read";
}

/// Bytes of one text in the audit.
const MAX_TEXT: usize = 4 << 10;

/// What an action is done to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A folder, a file, an object store's URL or a web address, as the pipeline writes it; see
    /// [`Resource::below`].
    Location(String),
    /// An absolute URL, and the method that is used on it.
    Endpoint {
        method: String,
        url: String,
    },
    /// An address that the host of `endpoint` (a URL, of which scheme, host and port count) resolved to.
    Address {
        endpoint: String,
        ip: IpAddr,
    },
    /// The host's native decoders, all of them.
    Decoder,
    /// A component by digest: `sha256:...`.
    Plugin(String),
    Pipeline(PipelineName),
    /// Where a sink's tables are, as the pipeline writes it.
    Sink(String),
    Stream {
        pipeline: PipelineName,
        stream: StreamName,
    },
    /// A permission of a component, for a pipeline.
    Grant {
        pipeline: PipelineName,
        digest: String,
        permission: Permission,
    },
    /// The record of all decisions.
    Audit,
}

impl Resource {
    /// A file below a location, by its path there; the location itself when the path is empty.
    pub fn below(location: &str, path: &str) -> Self {
        match path {
            "" => Self::Location(location.to_owned()),
            path => Self::Location(format!("{}/{path}", location.trim_end_matches('/'))),
        }
    }

    /// As the audit keeps it: what may hold secrets (a URL's user, query and fragment) left out, and cut at 4
    /// KiB.
    pub(crate) fn for_audit(&self) -> Self {
        match self {
            Self::Location(location) => Self::Location(bare(location)),
            Self::Endpoint { method, url } => Self::Endpoint { method: method.clone(), url: bare(url) },
            Self::Address { endpoint, ip } => Self::Address { endpoint: bare(endpoint), ip: *ip },
            Self::Sink(location) => Self::Sink(bare(location)),
            other => other.clone(),
        }
    }
}

fn bare(text: &str) -> String {
    let mut bare = without_secrets(text);
    bare.truncate(bare.floor_char_boundary(MAX_TEXT));
    bare
}

fn without_secrets(text: &str) -> String {
    let Some(mut url) = text.contains("://").then(|| Url::parse(text).ok()).flatten() else {
        return text.to_owned();
    };
    // Fails for URLs that cannot have a user: those have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Kind and name: `location:./data`, `endpoint:GET https://example.org/`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(location) => write!(f, "location:{location}"),
            Self::Endpoint { method, url } => write!(f, "endpoint:{method} {url}"),
            Self::Address { endpoint, ip } => write!(f, "address:{ip} of {endpoint}"),
            Self::Decoder => f.write_str("decoder"),
            Self::Plugin(digest) => write!(f, "plugin:{digest}"),
            Self::Pipeline(name) => write!(f, "pipeline:{name}"),
            Self::Sink(location) => write!(f, "sink:{location}"),
            Self::Stream { pipeline, stream } => write!(f, "stream:{pipeline}/{stream}"),
            Self::Grant { pipeline, digest, permission } => {
                write!(f, "grant:{permission} to {digest} for {pipeline}")
            }
            Self::Audit => f.write_str("audit"),
        }
    }
}
