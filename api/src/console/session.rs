//! Who is signed in: the token itself in a cookie that no script reads and no other site sends. What changes something also
//! shows a proof that it comes from a form of ours.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use poem::Request;
use poem::http::{Uri, header};
use sha2::Sha256;

use crate::access::Caller;

const COOKIE: &str = "jumun_session";
/// The same where the browser speaks TLS: no other host of the domain can set it.
const SECURE_COOKIE: &str = "__Host-jumun_session";
/// Set by the browser itself: by how many minutes its clock is ahead of UTC.
pub(super) const OFFSET_COOKIE: &str = "jumun_offset";
pub(super) const LANGUAGE_COOKIE: &str = "jumun_language";
/// Browsers keep cookies of 4 KB, name and attributes included.
pub(super) const LONGEST_TOKEN: usize = 3_800;
/// What the proof is a proof of.
const PURPOSE: &[u8] = b"jumun console form";

/// Somebody who is signed in.
#[derive(Clone)]
pub(crate) struct Session {
    pub(super) caller: Caller,
    token: String,
}

impl Session {
    pub(crate) fn new(caller: Caller, token: &str) -> Self {
        Self { caller, token: token.to_owned() }
    }

    /// What a form has to show.
    pub(super) fn proof(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.keyed().finalize().into_bytes())
    }

    /// Whether a form has shown it. Takes as long whatever was shown.
    pub(super) fn is_proved_by(&self, shown: &str) -> bool {
        BASE64_URL_SAFE_NO_PAD.decode(shown).is_ok_and(|shown| self.keyed().verify_slice(&shown).is_ok())
    }

    fn keyed(&self) -> Hmac<Sha256> {
        let mut keyed = Hmac::<Sha256>::new_from_slice(self.token.as_bytes()).expect("takes keys of any length");
        keyed.update(PURPOSE);
        keyed
    }
}

/// The token that the request's cookie holds.
pub(crate) fn token(request: &Request) -> Option<&str> {
    cookie(request, cookie_name(is_secure(request)))
}

const fn cookie_name(secure: bool) -> &'static str {
    if secure { SECURE_COOKIE } else { COOKIE }
}

/// The cookie of that name, unless it is empty.
pub(super) fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let lines = request.headers().get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value)
}

/// The cookie that keeps the session for as long as its token is good.
pub(super) fn begin(token: &str, good_for: Duration, secure: bool) -> String {
    let name = cookie_name(secure);
    format!("{name}={token}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}", good_for.as_secs(), suffix(secure))
}

pub(super) fn end(secure: bool) -> String {
    let name = cookie_name(secure);
    format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}", suffix(secure))
}

/// The cookie that keeps the language for a year.
pub(super) fn language(code: &str, secure: bool) -> String {
    format!("{LANGUAGE_COOKIE}={code}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax{}", suffix(secure))
}

const fn suffix(secure: bool) -> &'static str {
    if secure { "; Secure" } else { "" }
}

/// Whether the browser speaks TLS, also if only to what stands in front of us.
pub(super) fn is_secure(request: &Request) -> bool {
    request.header("x-forwarded-proto").is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// Whether somebody else has handed the request on: then who sits at this machine is not known.
pub(super) fn is_forwarded(request: &Request) -> bool {
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"]
        .iter()
        .any(|name| request.headers().contains_key(*name))
}

/// Whether a form comes from a page of ours, as far as the browser says.
pub(super) fn is_from_here(request: &Request) -> bool {
    if let Some(site) = request.header("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let host = request.header(header::HOST.as_str());
    let origin = request.header(header::ORIGIN.as_str());
    origin.is_none_or(|origin| origin.split_once("://").map(|(_, origin)| origin) == host)
}

/// A path of this console, where somebody may be sent after signing in; anything else is the front page.
pub(super) fn local(path: &str) -> &str {
    let is_path = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && is_plain && path.parse::<Uri>().is_ok() { path } else { "/" }
}

/// Whether somebody asks who sits at this machine, by a name of this machine: no page of somebody else's whose name leads
/// here, and nobody on the network.
pub(super) fn is_of_this_machine(peer: Option<IpAddr>, host: &str) -> bool {
    let host = host.parse::<Uri>().ok();
    let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
    let by_name = host == "localhost" || host.ends_with(".localhost");
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    peer.is_some_and(|peer| peer.to_canonical().is_loopback())
        && (by_name || address.is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_gone_to() {
        for path in ["/", "/orders/ord_1", "/?status=paid&q=%ED%95%9C"] {
            assert_eq!(local(path), path);
        }
        let elsewhere = [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "",
            "/a\r\nx",
            "evil",
            "/ 1",
        ];
        for path in elsewhere {
            assert_eq!(local(path), "/", "{path:?}");
        }
    }

    #[test]
    fn a_form_from_elsewhere_is_known() {
        let request = |headers: &[(&str, &str)]| {
            headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value)).finish()
        };
        for (headers, from_here) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "http://localhost:8088"), ("host", "localhost:8088")], true),
            (&[("origin", "http://localhost:8089"), ("host", "localhost:8088")], false),
            (&[("origin", "null"), ("host", "localhost:8088")], false),
        ] {
            assert_eq!(is_from_here(&request(headers)), from_here, "{headers:?}");
        }
    }

    #[test]
    fn only_this_machine_by_its_own_name_may_choose_a_role() {
        let [here, lan] = ["127.0.0.1", "192.168.0.9"].map(|peer| peer.parse::<IpAddr>().ok());
        for host in ["localhost:8088", "127.0.0.1:8088", "[::1]:8088", "jumun.localhost"] {
            assert!(is_of_this_machine(here, host), "{host}");
            assert!(!is_of_this_machine(lan, host), "{host}");
            assert!(!is_of_this_machine(None, host), "{host}");
        }
        for host in ["evil.example:8088", "192.168.0.1:8088", "localhost.evil.example", ""] {
            assert!(!is_of_this_machine(here, host), "{host}");
        }
    }
}
