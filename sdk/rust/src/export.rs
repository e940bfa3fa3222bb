//! From the contract's exports to an [`Extractor`].

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;

use crate::bindings::exports::tidegate::connector::extraction as wit;
use crate::bindings::tidegate::connector::log;
use crate::bindings::tidegate::connector::types::Fault as WitFault;
use crate::request::Manifest;
use crate::schema::flatten;
use crate::{
    Context, Extractor, Fault, Output, Plan, PlannedSplit, Reopened, Result, Split, Stream, StreamRequest,
    config,
};

/// Makes a type that implements [`Extractor`] the connector that this crate builds, and writes its capability
/// request.
///
/// Name, version, description and license come from `Cargo.toml`, the name in lower case and with `-` for `_`;
/// a name of its own can be given. Everything but the type is optional, in this order:
///
/// ```
/// # use tidegate_sdk::prelude::*;
/// # #[derive(serde::Deserialize, schemars::JsonSchema)]
/// # struct Config {}
/// # #[derive(Default)]
/// # struct Pages;
/// # impl Extractor for Pages {
/// #     type Config = Config;
/// #     fn discover(&self, _: &Context<Config>) -> Result<Vec<Stream>> { Ok(Vec::new()) }
/// #     fn read(&self, _: &Context<Config>, _: Split, _: &mut Output) -> Result<()> { Ok(()) }
/// # }
/// tidegate_sdk::export_extractor!(Pages, {
///     name: "pages",
///     title: "Pages of an API",
///     publisher: "Example, Inc.",
///     capabilities: [
///         { id: "api", kind: http, target: "{config.url}", reason: "fetches the pages you point it at" },
///         { id: "kernels", kind: decode, required: false, reason: "decodes them faster" },
///         {
///             id: "token",
///             kind: credential,
///             target: "{config.url}",
///             place: "bearer",
///             required: false,
///             reason: "is how the API knows you",
///         },
///     ],
/// });
/// ```
#[macro_export]
macro_rules! export_extractor {
    ($extractor:ident) => { $crate::export_extractor!($extractor, {}); };
    ($extractor:ident, {
        $(name: $name:literal $(,)?)?
        $(title: $title:literal $(,)?)?
        $(publisher: $publisher:literal $(,)?)?
        $(capabilities: [$({
            id: $id:literal, kind: $kind:ident
            $(, target: $target:literal)?
            $(, place: $place:literal)?
            $(, required: $required:literal)?
            , reason: $reason:literal $(,)?
        }),* $(,)?] $(,)?)?
    }) => {
        const _: () = {
            const MANIFEST: $crate::macros::Manifest = $crate::macros::Manifest {
                name: $crate::macros::first(&[$($name,)? env!("CARGO_PKG_NAME")]),
                version: env!("CARGO_PKG_VERSION"),
                title: $crate::macros::first(&[$($title,)? env!("CARGO_PKG_NAME")]),
                description: env!("CARGO_PKG_DESCRIPTION"),
                publisher: $crate::macros::first(&[$($publisher,)? ""]),
                license: env!("CARGO_PKG_LICENSE"),
                capabilities: &[$($($crate::macros::Capability {
                    id: $id,
                    kind: $crate::macros::kind(stringify!($kind)),
                    target: $crate::macros::optional(&[$($target)?]),
                    place: $crate::macros::optional(&[$($place)?]),
                    required: $crate::macros::required(&[$($required)?]),
                    reason: $reason,
                }),*)?],
            };

            impl $crate::macros::Described for $extractor {
                const MANIFEST: &'static $crate::macros::Manifest = &MANIFEST;
            }

            #[cfg(target_arch = "wasm32")]
            #[used]
            #[unsafe(link_section = "tidegate:request")]
            static REQUEST: [u8; MANIFEST.size()] = MANIFEST.json();
            // A native build, for the connector's own tests, has nobody to export to, but says the same of
            // mistakes.
            #[cfg(not(target_arch = "wasm32"))]
            const _: (usize, fn() -> $extractor) = (MANIFEST.size(), $crate::macros::is_extractor::<$extractor>);
        };
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export_bindings!($extractor with_types_in $crate::bindings);
    };
}

/// What it says of itself.
pub trait Described {
    const MANIFEST: &'static Manifest;
}

/// That it implements the trait.
pub fn is_extractor<T: Extractor>() -> T {
    T::default()
}

impl<T: Extractor + Described> wit::Guest for T {
    type Session = Session<T>;

    fn spec() -> wit::ConnectorSpec {
        let slots = T::MANIFEST.capabilities.iter().filter(|capability| capability.is_credential());
        let secrets = slots.map(|slot| wit::SecretSlot {
            name: slot.id.to_owned(),
            description: slot.reason.to_owned(),
            required: slot.required,
        });
        wit::ConnectorSpec { config_schema: config::schema::<T::Config>(), secrets: secrets.collect() }
    }

    fn check(config: String) -> Result<(), WitFault> {
        report_panics();
        Ok(T::default().check(&context(&config)?)?)
    }

    fn discover(config: String) -> Result<Vec<wit::Stream>, WitFault> {
        report_panics();
        let streams = T::default().discover(&context(&config)?)?;
        Ok(streams.into_iter().map(Stream::into_wit).collect::<Result<_>>()?)
    }

    fn start(request: wit::Request) -> Result<wit::Session, WitFault> {
        report_panics();
        context::<T::Config>(&request.config)?;
        Ok(wit::Session::new(Session::<T>::new(Stage::Started(request))))
    }

    fn reopen(request: wit::Request, token: Vec<u8>) -> Result<wit::Reopened, WitFault> {
        report_panics();
        let (config, request) = StreamRequest::from_wit(request);
        Ok(match T::default().reopen(&context(&config)?, &request, &token)? {
            Reopened::Same(held) => {
                wit::Reopened::Same(wit::Session::new(Session::<T>::new(Stage::Planned(held))))
            }
            Reopened::Gone(reason) => wit::Reopened::Gone(reason),
        })
    }

    fn read(request: wit::Request, data: Vec<u8>, from: Option<Vec<u8>>) -> Result<(), WitFault> {
        report_panics();
        let (config, request) = StreamRequest::from_wit(request);
        let mut out = Output::new(request.stream.clone());
        Ok(T::default().read(&context(&config)?, Split { request, data, from }, &mut out)?)
    }
}

/// One generation, from its plan to its last commit.
pub struct Session<T> {
    stage: RefCell<Stage>,
    extractor: PhantomData<T>,
}

enum Stage {
    Started(wit::Request),
    /// Keeps what the plan holds.
    Planned(#[expect(dead_code, reason = "held, not read")] Option<Box<dyn Any>>),
}

impl<T> Session<T> {
    fn new(stage: Stage) -> Self {
        Self { stage: RefCell::new(stage), extractor: PhantomData }
    }
}

impl<T: Extractor> wit::GuestSession for Session<T> {
    fn plan(&self) -> Result<wit::Plan, WitFault> {
        let Stage::Started(request) = self.stage.replace(Stage::Planned(None)) else {
            return Err(Fault::internal("invalid", "this generation has its plan already").into());
        };
        let (config, request) = StreamRequest::from_wit(request);
        let mut plan = T::default().plan(&context(&config)?, &request)?;
        self.stage.replace(Stage::Planned(plan.take_held()));
        Ok(plan.into_wit())
    }
}

fn context<C: serde::de::DeserializeOwned>(text: &str) -> Result<Context<C>> {
    Ok(Context::new(config::parse(text)?))
}

/// A panic ends the instance; what it said goes to the host's log.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
}

impl Stream {
    fn into_wit(self) -> Result<wit::Stream> {
        Ok(wit::Stream {
            schema: flatten(&self.schema)
                .map_err(|fault| fault.during(format_args!("stream `{}`", self.name)))?,
            name: self.name,
            modes: self.modes,
            key: self.key,
            cursors: self.cursors,
            estimated_rows: self.estimated_rows,
            estimated_bytes: self.estimated_bytes,
            notes: self.notes,
        })
    }
}

impl StreamRequest {
    /// The configuration and the request proper.
    fn from_wit(request: wit::Request) -> (String, Self) {
        let wit::Request { config, stream, mode, cursor, key, since, bookmark } = request;
        (config, Self { stream, mode, cursor, key, since, bookmark })
    }
}

impl Plan {
    fn into_wit(self) -> wit::Plan {
        wit::Plan {
            splits: self.splits.into_iter().map(PlannedSplit::into_wit).collect(),
            token: self.token,
            bookmark: self.bookmark,
            upper_bound: self.upper_bound,
            repeatable: self.repeatable,
        }
    }
}

impl PlannedSplit {
    fn into_wit(self) -> wit::Split {
        wit::Split {
            data: self.data,
            label: self.label,
            estimated_rows: self.estimated_rows,
            estimated_bytes: self.estimated_bytes,
        }
    }
}
