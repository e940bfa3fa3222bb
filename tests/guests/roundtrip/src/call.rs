//! Requests through `http`, and what came of them.

use std::io;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_sdk::prelude::*;
use tidegate_sdk::{Level, RequestBuilder, Response};

use crate::Config;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// So many bytes of body.
    pub body: usize,
    /// Milliseconds.
    pub timeout: Option<u64>,
    /// Only count what comes back.
    pub count: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            url: String::new(),
            headers: Vec::new(),
            body: 0,
            timeout: None,
            count: false,
        }
    }
}

/// Makes the calls one after the other, or sends them all before the first answer is waited for. Logs a line
/// for each: the status and the body of the answer, or the code and the words of the refusal.
pub(crate) fn make(cx: &Context<Config>) -> Result<()> {
    if cx.config.dump {
        let bound = cx.credentials().all_bound();
        cx.log(Level::Info, format!("bound: {}", bound.join(" ")));
    }
    let calls = cx.config.calls.iter().map(|call| (call, call.prepared(cx)));
    if cx.config.at_once {
        let pending: Vec<_> = calls.map(|(call, request)| (call, request.submit())).collect();
        // All of them stay until the end, so that none makes room for another.
        let answers: Vec<_> =
            pending.into_iter().map(|(call, sent)| (call, sent.and_then(|sent| sent.wait()))).collect();
        answers.into_iter().try_for_each(|(call, answer)| call.tell(cx, answer))
    } else {
        calls
            .map(|(call, request)| (call, request.send()))
            .try_for_each(|(call, answer)| call.tell(cx, answer))
    }
}

impl Call {
    fn prepared(&self, cx: &Context<Config>) -> RequestBuilder {
        let mut request = cx.http().request(&self.method, &self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if self.body > 0 {
            request = request.body(vec![b'x'; self.body]);
        }
        match self.timeout {
            Some(milliseconds) => request.timeout(Duration::from_millis(milliseconds)),
            None => request,
        }
    }

    fn tell(&self, cx: &Context<Config>, answer: Result<Response>) -> Result<()> {
        let line = match answer.and_then(|answer| self.read(cx, answer)) {
            Ok(line) => line,
            Err(fault) if cx.config.strict => return Err(fault),
            Err(fault) => format!("{}: {}", fault.code, fault.message),
        };
        cx.log(Level::Info, line);
        Ok(())
    }

    fn read(&self, cx: &Context<Config>, mut answer: Response) -> Result<String> {
        let headers = answer.headers.iter().map(|(name, value)| format!("{name}={value}"));
        let head = match cx.config.dump {
            true => format!("{} {}; ", answer.status, headers.collect::<Vec<_>>().join(" ")),
            false => format!("{} ", answer.status),
        };
        if self.count {
            return Ok(format!("{head}{} bytes", io::copy(&mut answer.body, &mut io::sink())?));
        }
        Ok(head + &answer.text()?)
    }
}
