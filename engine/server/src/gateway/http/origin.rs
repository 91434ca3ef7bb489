//! Where a page is from: scheme, host and port, all of which browsers tell apart.

use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};

/// The origin of a page, or of this server as browsers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads the header `Origin`; nothing for `null`, or for whatever has no port by default.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_bare = uri.path_and_query().is_none_or(|rest| rest == "/") && !text.ends_with('/');
        Self::new(uri.scheme()?.clone(), uri.authority()?).filter(|_| is_bare)
    }

    /// Names what is asked by a scheme at a host; nothing where a user is named too.
    pub(super) fn new(scheme: Scheme, authority: &Authority) -> Option<Self> {
        let default = if scheme == Scheme::HTTPS {
            443
        } else if scheme == Scheme::HTTP {
            80
        } else {
            return None;
        };
        let (host, rest) = (authority.host(), authority.as_str().strip_prefix(authority.host())?);
        let port = match rest {
            "" | ":" => default,
            _ => rest.strip_prefix(':')?.parse().ok()?,
        };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// Names the host alone.
    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, is_same: bool) {
        let (one, other) = (Origin::parse(one), Origin::parse(other));
        assert_eq!(one.is_some() && one == other, is_same, "{one:?} {other:?}");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        check("https://a.example", "https://A.example", true);
        check("https://a.example", "HTTPS://a.example:443", true);
        check("http://a.example:80", "http://a.example", true);
        check("http://[::1]:3000", "http://[::1]:3000", true);
        check("https://a.example", "http://a.example", false);
        check("https://a.example:80", "http://a.example:80", false);
        check("https://a.example", "https://a.example:8443", false);
        check("https://a.example", "https://b.example", false);
        check("http://[::1]:3000", "http://[::1]", false);
        for none in [
            "null",
            "",
            "a.example",
            "://a",
            "https://",
            "https://a@b.example",
            "https://a@a",
            "https://a.example/",
            "ftp://a",
            "https://a.example/b",
            "https://a.example?b",
            "https://a.example:99999",
            "https://a.example:b",
            "file:///a",
        ] {
            assert_eq!(Origin::parse(none), None, "{none}");
        }
    }
}
