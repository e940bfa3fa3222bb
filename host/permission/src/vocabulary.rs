//! What can be asked: the one list of actions, and of what they are done to.

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use tidegate_model::{Binding, Permission, PipelineName, SecretRef, StreamName};
use url::Url;

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal on $kind:ident by $($group:ident)+;)+) => {
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

            /// Whether this is the kind of resource that the action goes with.
            pub(crate) fn is_about(self, resource: &Resource) -> bool {
                match self { $(Self::$name => matches!(resource, Resource::$kind { .. }),)+ }
            }

            /// Whose action it is: `component`, `module`, `people`.
            pub(crate) fn groups(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$(stringify!($group)),+],)+ }
            }

            /// Whether components do it, when somebody granted it to them.
            pub fn is_of_components(self) -> bool {
                self.groups().contains(&"component")
            }
        }
    };
}

actions! {
    /// See which files are below a location ([`Resource::Location`]).
    FilesList = "files.list" on Location by component;
    /// Read a file ([`Resource::Location`]).
    FilesRead = "files.read" on Location by component;
    /// Send an HTTP request ([`Resource::Endpoint`]).
    HttpRequest = "http.request" on Endpoint by component module;
    /// Open a connection to an address that an endpoint's name resolved to ([`Resource::Address`]).
    HttpConnect = "http.connect" on Address by component module;
    /// Open a connection to a named endpoint ([`Resource::Socket`]).
    TcpConnect = "tcp.connect" on Socket by component;
    /// Dial an address that such an endpoint's name resolved to ([`Resource::Address`]).
    TcpDial = "tcp.dial" on Address by component;
    /// Have the host use a secret at an endpoint ([`Resource::Credential`]).
    CredentialUse = "credential.use" on Credential by component;
    /// Pass on a column of a stream whose columns a grant narrows ([`Resource::Column`]).
    ColumnRead = "column.read" on Column by component;
    /// Use the host's decoders ([`Resource::Decoder`]).
    DecodeUse = "decode.use" on Decoder by component;
    /// Run a component's code ([`Resource::Plugin`]).
    PluginLoad = "plugin.load" on Plugin by module people;
    /// Start a run, or look at a pipeline's source ([`Resource::Pipeline`]).
    RunStart = "run.start" on Pipeline by module people;
    /// Write tables ([`Resource::Sink`]).
    SinkWrite = "sink.write" on Sink by module;
    /// See what was extracted so far ([`Resource::Stream`]).
    StateRead = "state.read" on Stream by module people;
    /// Say what was extracted so far ([`Resource::Stream`]).
    StateWrite = "state.write" on Stream by module;
    /// Forget what was extracted so far ([`Resource::Stream`]).
    StateReset = "state.reset" on Stream by module people;
    /// See what is granted, what is asked for, and why something is allowed ([`Resource::Store`]).
    GrantList = "grant.list" on Store by people;
    /// Grant something to a component ([`Resource::Grant`]).
    GrantAdd = "grant.add" on Grant by people;
    /// Take a grant back ([`Resource::Grant`]).
    GrantRevoke = "grant.revoke" on Grant by people;
    /// See which components and publishers there are ([`Resource::Store`]).
    PluginList = "plugin.list" on Store by people;
    /// Put a component among those that pipelines can name ([`Resource::Plugin`]).
    PluginInstall = "plugin.install" on Plugin by people;
    /// Take one away again, or make an older version the current one ([`Resource::Plugin`]).
    PluginRemove = "plugin.remove" on Plugin by people;
    /// Say that a component must not run any more ([`Resource::Plugin`]).
    PluginRevoke = "plugin.revoke" on Plugin by people;
    /// Trust a publisher's key, or no longer ([`Resource::Publisher`]).
    PublisherTrust = "publisher.trust" on Publisher by people;
    /// Get a secret's value, to use it for a component ([`Resource::Secret`]).
    SecretRead = "secret.read" on Secret by module people;
    /// Keep a secret, or a new value of one ([`Resource::Secret`]).
    SecretWrite = "secret.write" on Secret by module people;
    /// See which secrets there are, without their values ([`Resource::Store`]).
    SecretList = "secret.list" on Store by people;
    /// Forget a secret ([`Resource::Secret`]).
    SecretRemove = "secret.remove" on Secret by people;
    /// Change the key that secrets are encrypted with ([`Resource::Store`]).
    SecretRekey = "secret.rekey" on Store by people;
    /// See which users there are ([`Resource::Store`]).
    UserList = "user.list" on Store by people;
    /// Add a user, or change what they may do ([`Resource::User`]).
    UserWrite = "user.write" on User by people;
    /// Remove a user ([`Resource::User`]).
    UserRemove = "user.remove" on User by people;
    /// Copy the platform's own store ([`Resource::Store`]).
    StoreBackup = "store.backup" on Store by people;
    /// Put a copy in its place ([`Resource::Store`]).
    StoreRestore = "store.restore" on Store by people;
    /// Read the audit ([`Resource::Audit`]).
    AuditRead = "audit.read" on Audit by people;
}

/// Bytes of one text in the audit.
const MAX_TEXT: usize = 4 << 10;
/// Methods that one line of the audit names.
const MAX_METHODS: usize = 32;

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
    /// A named endpoint of `tcp`.
    Socket {
        host: String,
        port: u16,
    },
    /// A secret, used in one way for one slot at one endpoint: an URL, or `HOST:PORT`.
    Credential {
        binding: Binding,
        endpoint: String,
    },
    /// A column of a stream.
    Column {
        stream: StreamName,
        column: String,
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
        /// The component carries the signature of a publisher who is trusted here.
        signed: bool,
        /// Until it ends by itself; none: it does not.
        days: Option<i64>,
    },
    /// A secret by its reference, never its value.
    Secret(SecretRef),
    /// Whoever signs components, by the key's identifier.
    Publisher(String),
    /// A user of the platform.
    User(String),
    /// What the platform itself keeps: users, secrets, plugins, grants.
    Store,
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

    /// As the audit keeps it: what may hold secrets (a URL's user, query and fragment) left out, and every
    /// text that a stranger may have written cut at 4 KiB.
    pub(crate) fn for_audit(&self) -> Self {
        let mut clean = self.clone();
        match &mut clean {
            Self::Location(text) | Self::Sink(text) | Self::Plugin(text) => *text = bare(text),
            Self::Endpoint { method, url } => {
                *method = bare(method);
                *url = bare(url);
            }
            Self::Address { endpoint, .. } => *endpoint = bare(endpoint),
            Self::Socket { host, .. } => *host = bare(host),
            Self::Credential { binding, endpoint } => {
                bare_binding(binding);
                *endpoint = bare(endpoint);
            }
            Self::Column { column, .. } => *column = bare(column),
            Self::Grant { digest, permission, .. } => {
                *digest = bare(digest);
                permission.target = permission.target.as_deref().map(bare);
                permission.methods.truncate(MAX_METHODS);
                permission.methods.iter_mut().for_each(|method| *method = bare(method));
                if let Some(binding) = &mut permission.binding {
                    bare_binding(binding);
                }
            }
            Self::Publisher(text) | Self::User(text) => *text = bare(text),
            // Names whose length is limited where they are read.
            Self::Decoder
            | Self::Pipeline(_)
            | Self::Stream { .. }
            | Self::Secret(_)
            | Self::Store
            | Self::Audit => {}
        }
        clean
    }
}

fn bare_binding(binding: &mut Binding) {
    binding.slot = bare(&binding.slot);
    if let SecretRef::File(path) = &mut binding.secret {
        *path = bare(path);
    }
    // Its words are the component's, filled from the configuration.
    if let Ok(place) = bare(&binding.place.to_string()).parse() {
        binding.place = place;
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
            Self::Socket { host, port } => write!(f, "socket:{host}:{port}"),
            Self::Credential { binding: Binding { slot, secret, place }, endpoint } => {
                write!(f, "credential:{slot} ({secret}) as {place} at {endpoint}")
            }
            Self::Column { stream, column } => write!(f, "column:{stream}.{column}"),
            Self::Decoder => f.write_str("decoder"),
            Self::Plugin(digest) => write!(f, "plugin:{digest}"),
            Self::Pipeline(name) => write!(f, "pipeline:{name}"),
            Self::Sink(location) => write!(f, "sink:{location}"),
            Self::Stream { pipeline, stream } => write!(f, "stream:{pipeline}/{stream}"),
            Self::Grant { pipeline, digest, permission, .. } => {
                write!(f, "grant:{permission} to {digest} for {pipeline}")
            }
            Self::Secret(secret) => write!(f, "secret:{secret}"),
            Self::Publisher(key) => write!(f, "publisher:{key}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Store => f.write_str("store"),
            Self::Audit => f.write_str("audit"),
        }
    }
}
