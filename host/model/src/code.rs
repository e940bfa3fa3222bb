//! Every fault code there is. A code keeps its meaning for ever: people search for it, programs match it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the process answers to its caller's shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: the run failed.
    Failed = 1,
    /// 2: usage or configuration.
    Usage = 2,
    /// 3: permission denied, or waiting for approval.
    Denied = 3,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $exit:ident;)+) => {
        /// The stable code of a fault, written `TG0123`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Code {
            /// All of them, in order.
            pub const ALL: &[Code] = &[$(Code::$name),+];

            /// The exit status of a command that ends with this fault.
            pub fn exit(self) -> Exit {
                match self { $(Code::$name => Exit::$exit,)+ }
            }
        }
    };
}

codes! {
    /// The pipeline file, or another file people write, is not valid YAML or has a value of the wrong kind.
    BadFile = 101, Usage;
    /// A file has a key that is not known.
    UnknownKey = 102, Usage;
    /// The pipeline file cannot be read.
    NoPipeline = 103, Usage;
    /// The command line asks for something that is not there, such as a stream the pipeline does not name.
    BadUsage = 104, Usage;
    /// The connector says that its configuration is wrong.
    BadConfig = 105, Usage;
    /// The pipeline asks for a combination that cannot work, such as `incremental` on a stream that has no
    /// such mode.
    BadPipeline = 106, Usage;

    /// No installed connector has that name and version.
    NoConnector = 201, Usage;
    /// The file is not a WebAssembly component.
    NotAComponent = 202, Usage;
    /// The component was built for another version of the contract.
    WrongContract = 203, Usage;
    /// The component's capability request is missing or malformed.
    BadRequest = 204, Usage;
    /// The component imports something that it does not request, or that no component may have.
    ForbiddenImport = 205, Usage;
    /// The component could not be compiled within the limits for that.
    CompileFailed = 206, Usage;
    /// The component's bytes are not those that the order names by their digest.
    DigestMismatch = 207, Usage;

    /// The component, or whoever published it, is on the list of those that must not run.
    PluginRevoked = 208, Denied;
    /// A component's signature is missing where one is asked for, or does not fit.
    BadSignature = 209, Denied;
    /// A component, a version of it or a key has that name already, or there is none of that name.
    NoPlugin = 210, Usage;

    /// A capability is requested and not granted.
    NotGranted = 301, Denied;
    /// The organisation's ceiling does not allow it.
    AboveCeiling = 302, Denied;
    /// The audit cannot be written, so nothing that needs it is done.
    AuditUnavailable = 303, Denied;
    /// A line of the audit was changed, taken out or cut off.
    AuditBroken = 304, Failed;
    /// A secret that a slot is bound to is not there, or cannot be read.
    NoSecret = 305, Usage;
    /// A permission was taken back while a run used it.
    Revoked = 306, Denied;
    /// A policy file cannot be understood.
    BadPolicy = 307, Usage;
    /// There is no such user, or one already.
    NoUser = 308, Usage;
    /// Somebody else changed a secret between reading it and keeping a new value; theirs stays.
    SecretChanged = 309, Failed;

    /// The source could not be reached or answered with an error.
    SourceFailed = 401, Failed;
    /// The connector is at fault: it trapped, broke the contract or answered nonsense.
    ConnectorFailed = 402, Failed;
    /// The connector went beyond a limit: memory, time, calls, sizes.
    LimitExceeded = 403, Failed;
    /// The connector asked for something that it was not granted, and could not go on without.
    ConnectorDenied = 404, Denied;
    /// The source has no such stream.
    NoStream = 405, Usage;
    /// What the connector sent does not fit the schema it announced.
    BadBatch = 406, Failed;
    /// The source no longer has what the interrupted generation was reading.
    GenerationGone = 407, Failed;

    /// The sink could not be reached, read or written.
    SinkFailed = 501, Failed;
    /// The schema changed, and the pipeline's `schema_change` refuses such a change.
    SchemaRefused = 502, Failed;
    /// A column's type has no place in the sink.
    TypeRefused = 503, Failed;
    /// Another run committed to this stream in the meantime; nothing of this one was committed.
    Superseded = 504, Failed;
    /// The table belongs to another pipeline, or its state does not fit it.
    WrongOwner = 505, Failed;
    /// The object store does not honour conditional writes.
    UnsafeStore = 506, Usage;
    /// A staged file disappeared before it was committed.
    StagedFileLost = 507, Failed;
    /// The sink's state cannot be understood; it may be newer than this version.
    BadState = 508, Failed;

    /// The worker died or could not be started.
    WorkerLost = 701, Failed;
    /// The run was cancelled.
    Cancelled = 702, Failed;

    /// A file or folder of Tidegate's own could not be read or written.
    Storage = 901, Failed;
    /// Another process holds the platform's own store, or the store is of another version or damaged.
    StoreUnusable = 902, Failed;
    /// A mistake in Tidegate itself.
    Bug = 999, Failed;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TG{:04}", *self as u16)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.to_string() == text)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown fault code `{text}`")))
    }
}
