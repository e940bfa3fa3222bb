use std::net::IpAddr;

use tidegate_model::percent_decoded;
use url::{Host, Url};

/// A web address, decided by its parts: the same text can be written in many ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(Url);

impl Endpoint {
    /// Reads an absolute URL; says why it is none that can be granted.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("it has spaces, backslashes or control characters in it");
        }
        let url = Url::parse(text).map_err(|_| "it is not an absolute URL")?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("its scheme is neither http nor https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or password in it");
        }
        if url.fragment().is_some() {
            return Err("it has a fragment (`#`)");
        }
        if url.path().split('/').any(climbs) {
            return Err("its path has an encoded `..`");
        }
        Ok(Self(url))
    }

    /// Whether a grant for this allows `asked`: same scheme, host and port, and a path below this one's,
    /// segment by segment. Where this has a query, path and query must be the same.
    pub(crate) fn covers(&self, asked: &Self) -> bool {
        let (granted, asked) = (&self.0, &asked.0);
        if !self.is_origin_of(asked) {
            return false;
        }
        if granted.query().is_some() {
            return granted.path() == asked.path() && granted.query() == asked.query();
        }
        let granted = granted.path().trim_end_matches('/');
        asked.path().strip_prefix(granted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) fn has_origin_of(&self, asked: &Self) -> bool {
        self.is_origin_of(&asked.0)
    }

    fn is_origin_of(&self, asked: &Url) -> bool {
        self.0.scheme() == asked.scheme()
            && self.0.host() == asked.host()
            && self.0.port_or_known_default() == asked.port_or_known_default()
    }

    /// The address, where the host is written as one, in whatever notation.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
            Host::Domain(_) => None,
        }
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.0.port_or_known_default()
    }

    pub(crate) fn is_localhost(&self) -> bool {
        self.0.host_str() == Some("localhost")
    }

    /// Encrypted, or never leaves this machine.
    pub(crate) fn is_private(&self) -> bool {
        self.0.scheme() == "https" || self.is_localhost() || self.literal().is_some_and(|ip| ip.is_loopback())
    }
}

/// Whether what is sent to a URL can be read on no way between here and there. Allows nothing, as
/// [`is_below`].
pub fn is_private(url: &str) -> bool {
    Endpoint::parse(url).is_ok_and(|url| url.is_private())
}

/// Whether a URL is that of a target, or lies below it; what is no URL that can be granted is below nothing. It allows
/// nothing: that is for the authorizer to say.
pub fn is_below(target: &str, url: &str) -> bool {
    match (Endpoint::parse(target), Endpoint::parse(url)) {
        (Ok(target), Ok(url)) => target.covers(&url),
        _ => false,
    }
}

/// Whether a segment, once somebody decodes it, once or twice, has `..` as one of its parts.
pub(crate) fn climbs(segment: &str) -> bool {
    let once = percent_decoded(segment.as_bytes());
    let twice = percent_decoded(&once);
    [segment.as_bytes(), &once, &twice]
        .iter()
        .any(|text| text.split(|b| b"/\\".contains(b)).any(|part| part == b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(granted: &str, asked: &str) -> bool {
        let granted = Endpoint::parse(granted).unwrap();
        Endpoint::parse(asked).is_ok_and(|asked| granted.covers(&asked))
    }

    #[test]
    fn where_a_secret_can_be_sent_without_being_read_on_the_way() {
        for (url, expected) in [
            ("https://api.example.org", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:1", true),
            ("http://api.example.org", false),
            ("http://10.0.0.1", false),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("localhost", false),
        ] {
            assert_eq!(is_private(url), expected, "{url}");
        }
    }

    #[test]
    fn a_granted_address_covers_what_is_below_it() {
        for (granted, asked, expected) in [
            ("https://api.example.org", "https://api.example.org/", true),
            ("https://api.example.org", "https://api.example.org/v1/x?page=2", true),
            ("https://api.example.org", "https://API.example.org:443/v1", true),
            ("https://api.example.org/v1", "https://api.example.org/v1", true),
            ("https://api.example.org/v1", "https://api.example.org/v1/", true),
            ("https://api.example.org/v1/", "https://api.example.org/v1/x", true),
            ("https://api.example.org/v1", "https://api.example.org/v10", false),
            ("https://api.example.org/v1", "https://api.example.org/", false),
            ("https://api.example.org/v1", "https://api.example.org/v1/../v2", false),
            ("https://api.example.org/v1", "https://api.example.org/v1/%2e%2e/v2", false),
            ("https://api.example.org/v1", "https://api.example.org/v1/..%2fv2", false),
            ("https://api.example.org/v1", "https://api.example.org/v1/%252e%252e%252fv2", false),
            ("https://api.example.org/v1", "https://api.example.org/v1/a%2Fb", true),
            ("https://api.example.org/v1", "http://api.example.org/v1", false),
            ("https://api.example.org/v1", "https://api.example.org:8443/v1", false),
            ("https://api.example.org/v1", "https://example.org/v1", false),
            ("https://api.example.org/v1", "https://api.example.org.evil.net/v1", false),
            ("https://api.example.org/v1", "https://api.example.org@evil.net/v1", false),
            ("https://api.example.org/v1", "https://user:pw@api.example.org/v1", false),
            ("https://api.example.org/v1", "https://api.example.org\\@evil.net/v1", false),
            ("https://api.example.org/v1", "https://api.example.org/v1#x", false),
            ("https://api.example.org/v1", "https://api.exa\nmple.org/v1", false),
            ("https://api.example.org/v1", "ftp://api.example.org/v1", false),
            ("https://api.example.org/v1", "//api.example.org/v1", false),
            ("https://x.org/export?id=1", "https://x.org/export?id=1", true),
            ("https://x.org/export?id=1", "https://x.org/export?id=2", false),
            ("https://x.org/export?id=1", "https://x.org/export/more?id=1", false),
            ("http://127.0.0.1:8080", "http://0x7f.1:8080/x", true),
        ] {
            assert_eq!(covers(granted, asked), expected, "{granted} and {asked}");
        }
    }
}
