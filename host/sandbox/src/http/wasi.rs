//! `wasi:http`, for clients that know nothing of Tidegate: the same sender answers, by the same rules.
//!
//! What differs is what that interface asks for. A body is sent when all of it was written. `content-length` and
//! `accept-encoding` may be set and are not passed on: the host counts itself, and asks for bodies as they are. There
//! is no word for why something was refused but `HTTP-request-denied`.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tidegate_model::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::http::types::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks, WasiHttpView,
};

use super::request::{self, Outgoing, check_answer, check_body, is_reserved};
use super::sender::{Answer, Sender, pieces};
use super::{encoding, permit};
use crate::guest::{Guest, remember};
use crate::meter::{Charge, Ledger, Meter};
use crate::redaction::Redaction;
use crate::refusal::{Asked, Refusal};

/// What `wasi:http` of one instance needs.
pub(crate) struct Web {
    context: WasiHttpCtx,
    hooks: Hooks,
}

#[derive(Clone)]
struct Hooks {
    sender: Sender,
    in_flight: Arc<Semaphore>,
    ledger: Arc<Ledger>,
    meter: Arc<Meter>,
    denial: Arc<Mutex<Option<Fault>>>,
}

impl Web {
    pub(crate) fn new(
        sender: Sender,
        in_flight: Arc<Semaphore>,
        ledger: Arc<Ledger>,
        meter: Arc<Meter>,
        denial: Arc<Mutex<Option<Fault>>>,
    ) -> Self {
        let hooks = Hooks { sender, in_flight, ledger, meter, denial };
        Self { context: WasiHttpCtx::new(), hooks }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.meter.called();
        WasiHttpCtxView { hooks: &mut self.web.hooks, table: &mut self.table, ctx: &mut self.web.context }
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    outgoing_handler::add_to_linker::<_, WasiHttp>(linker, Guest::http)?;
    types::add_to_linker::<_, WasiHttp>(linker, &LinkOptions::default(), Guest::http)
}

/// What is left to do of an exchange.
type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Exchanged = Result<(http::Response<WasiBody>, Rest), Error>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name: &HeaderName| is_reserved(name.as_str()) && !is_dropped(name))
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Rest,
    ) -> Box<dyn Future<Output = Exchanged> + Send> {
        let hooks = self.clone();
        // Taken now: a component that floods is told at once.
        let permit = permit(&self.in_flight);
        Box::new(async move {
            let sent = async { hooks.exchange(request, options.unwrap_or_default(), permit?).await };
            sent.await.map_err(told)
        })
    }
}

impl Hooks {
    async fn exchange(
        &self,
        request: http::Request<WasiBody>,
        options: RequestOptions,
        _permit: OwnedSemaphorePermit,
    ) -> Asked<(http::Response<WasiBody>, Rest)> {
        let (parts, body) = request.into_parts();
        let mut given = Vec::with_capacity(parts.headers.len());
        for (name, value) in parts.headers.iter().filter(|(name, _)| !is_dropped(name)) {
            let text = value.to_str().map_err(|_| {
                Refusal::invalid(format!("the header `{name}` has a value that cannot be sent"))
            })?;
            given.push((name.as_str().to_owned(), text.to_owned()));
        }
        let patience = options.first_byte_timeout.unwrap_or(request::TIMEOUT).min(request::MAX_TIMEOUT);
        let (method, url) = (parts.method.as_str(), parts.uri.to_string());
        let mut outgoing = Outgoing::new(method, &url, &given, Bytes::new(), request::MAX_TIMEOUT)?;
        outgoing.headers.insert("accept-encoding", HeaderValue::from_static("identity"));
        // Before it is written: what may not be sent is not even collected.
        self.sender.decide(&outgoing).map_err(|fault| self.deny(fault))?;
        self.sender.check(&outgoing)?;
        let answer = timeout(patience, async {
            let (body, _charge) = self.collect(body).await?;
            self.meter.moved(body.len() as u64, 0);
            outgoing.body = body;
            self.sender.send(outgoing).await.map_err(|fault| self.deny(fault))
        });
        let answer = answer.await.map_err(|_| Refusal::unavailable(TOO_LATE))??;
        self.meter.progressed();
        self.pass_on(answer, options.between_bytes_timeout)
    }

    fn deny(&self, fault: Fault) -> Refusal {
        remember(&self.denial, &fault);
        Refusal::from(fault)
    }

    /// All of a body, counted against the instance while it grows.
    async fn collect(&self, mut body: WasiBody) -> Asked<(Bytes, Charge)> {
        let (mut whole, mut charge) = (BytesMut::new(), self.ledger.charge(0)?);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::invalid(format!("the body: {error}")))?;
            let Ok(piece) = frame.into_data() else { continue };
            check_body(whole.len() + piece.len())?;
            charge.grow(piece.len() as u64)?;
            whole.extend_from_slice(&piece);
        }
        Ok((whole.freeze(), charge))
    }

    fn pass_on(
        &self,
        Answer { response, redaction }: Answer,
        between: Option<Duration>,
    ) -> Asked<(http::Response<WasiBody>, Rest)> {
        check_answer(response.headers())?;
        if encoding(response.headers()).is_some() && !redaction.is_empty() {
            return Err(Refusal::unavailable("the answer is encoded though nobody asked for that"));
        }
        let mut headers = HeaderMap::with_capacity(response.headers().len());
        for (name, value) in response.headers() {
            if redaction.is_in_name(name.as_str()) {
                continue;
            }
            let mut bytes = value.as_bytes().to_vec();
            redaction.black_out(&mut bytes);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.append(name, value);
            }
        }
        let mut passed = http::Response::new(());
        *passed.status_mut() = response.status();
        *passed.headers_mut() = headers;
        let charge = self.ledger.charge(HELD)?;
        let counted = Counted { meter: self.meter.clone(), _charge: charge };
        let clear = clear(pieces(response), &redaction, between, counted);
        let frames = clear.map_ok(http_body::Frame::data).map_err(|error| {
            let timed_out = error.kind() == io::ErrorKind::TimedOut;
            if timed_out {
                Error::ConnectionReadTimeout
            } else {
                Error::InternalError(Some(error.to_string()))
            }
        });
        Ok((passed.map(|()| StreamBody::new(frames).boxed_unsync()), Box::new(async { Ok(()) })))
    }
}

/// What that interface has for it.
fn told(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Told(fault) if fault.code == "denied" => Error::HttpRequestDenied,
        Refusal::Told(fault) if fault.message == TOO_LATE => Error::HttpResponseTimeout,
        Refusal::Told(fault) => Error::InternalError(Some(format!("{}: {}", fault.code, fault.message))),
        Refusal::Ended(fault) => Error::InternalError(Some(fault.message)),
    }
}

const TOO_LATE: &str = "no answer in time";
/// What the way of a body holds in the host.
const HELD: u64 = 1 << 20;

/// Goes with a body and counts it.
struct Counted {
    meter: Arc<Meter>,
    _charge: Charge,
}

/// Set by clients of every kind, harmless, and not for them to say.
fn is_dropped(name: &HeaderName) -> bool {
    matches!(name.as_str(), "content-length" | "accept-encoding")
}

/// A body without what must not be seen of it, and without pauses that are longer than asked for.
fn clear(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    redaction: &Redaction,
    between: Option<Duration>,
    counted: Counted,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let in_time = futures::stream::try_unfold(Box::pin(pieces), move |mut pieces| async move {
        let next = match between {
            None => pieces.next().await,
            Some(between) => timeout(between, pieces.next()).await.map_err(|_| io::ErrorKind::TimedOut)?,
        };
        Ok(next.transpose()?.map(|piece| (piece, pieces)))
    });
    redaction.stream(in_time).inspect_ok(move |piece| {
        // All of it comes along: it holds a charge.
        let counted = &counted;
        counted.meter.moved(piece.len() as u64, 0);
        counted.meter.progressed();
    })
}
