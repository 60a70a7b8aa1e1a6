//! One request for a page: what it asks for, in which language, and as whom.

use std::net::SocketAddr;

use chrono::TimeDelta;
use percent_encoding::percent_decode_str;
use poem::http::{HeaderMap, HeaderValue, Method, header};
use poem::web::Form;
use poem::{FromRequest, Request};
use workflows::order::Language;
use workflows::{MerchantId, Role};

use super::session::{self, Session};
use super::text::Text;
use crate::headers::AcceptLanguage;
use crate::value::Value;

/// In minutes: of the Line Islands.
const FURTHEST_OFFSET: i64 = 14 * 60;

/// What a form or a query says: names and values, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of that name, without spaces around it; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    /// The same, if it says anything.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// What follows `prefix` in the names that begin with it, and their values.
    pub(super) fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.trim())))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

/// One request for a page.
pub(super) struct Visit {
    pub method: Method,
    /// The parts of the path, unescaped.
    pub path: Vec<String>,
    /// Path and query, as they came.
    pub here: String,
    pub query: Fields,
    pub form: Fields,
    pub language: Language,
    pub session: Option<Session>,
    /// How far the clocks of whoever asks are ahead of UTC.
    pub offset: TimeDelta,
    /// Whether it came by TLS.
    pub secure: bool,
    /// Whether a form of it comes from a page of ours, as far as the browser says.
    pub from_here: bool,
    /// Whether whoever asks sits at this machine.
    pub of_this_machine: bool,
    /// The id of the part of a page that is to be replaced, if it is a part that is asked for.
    part: Option<String>,
    headers: HeaderMap,
}

impl Visit {
    pub(super) async fn read(request: Request) -> Self {
        let (request, mut body) = request.split();
        let form = Form::<Vec<(String, String)>>::from_request(&request, &mut body).await;
        let path = request.uri().path().split('/').filter(|part| !part.is_empty()).map(unescaped).collect();
        let here = request.uri().path_and_query().map_or("/", |here| here.as_str()).to_owned();
        Self {
            method: request.method().clone(),
            path,
            here,
            query: Fields(request.params().unwrap_or_default()),
            form: form.map(|Form(fields)| Fields(fields)).unwrap_or_default(),
            language: language(&request),
            session: request.extensions().get::<Session>().cloned(),
            offset: offset(&request),
            secure: session::is_secure(&request),
            from_here: session::is_from_here(&request),
            of_this_machine: session::is_of_this_machine(
                request.remote_addr().as_socket_addr().map(SocketAddr::ip),
                request.header(header::HOST.as_str()).unwrap_or_default(),
            ) && !session::is_forwarded(&request),
            part: request.header("hx-target").map(str::to_owned),
            headers: request.headers().clone(),
        }
    }

    /// What is known of a request before it is known who asks.
    pub(super) fn of_nobody(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            path: Vec::new(),
            here: request.uri().path_and_query().map_or("/", |here| here.as_str()).to_owned(),
            query: Fields::default(),
            form: Fields::default(),
            language: language(request),
            session: None,
            offset: TimeDelta::zero(),
            secure: false,
            from_here: false,
            of_this_machine: false,
            part: request.header("hx-target").map(str::to_owned),
            headers: HeaderMap::new(),
        }
    }

    pub(super) fn say(&self, text: Text) -> &'static str {
        text.within(self.language)
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.session.as_ref().map(|session| session.caller.role())
    }

    pub(super) fn is(&self, role: Role) -> bool {
        self.role() == Some(role)
    }

    /// Whether it is an operator or a merchant, who see more of an order than others.
    pub(super) fn keeps_shop(&self) -> bool {
        matches!(self.role(), Some(Role::Operator | Role::Merchant))
    }

    pub(super) fn own_merchant(&self) -> Option<&MerchantId> {
        self.session.as_ref().and_then(|session| session.caller.merchant_id())
    }

    /// Whether only that part of the page is asked for.
    pub(super) fn wants_only(&self, part: &str) -> bool {
        self.part.as_deref() == Some(part)
    }

    /// Whether a part of a page is asked for, by a script of ours.
    pub(super) fn wants_a_part(&self) -> bool {
        self.part.is_some()
    }

    /// Where it came from, if from a page of this console.
    pub(super) fn came_from(&self) -> Option<&str> {
        let text = |name| self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (_, rest) = text(header::REFERER)?.split_once("://")?;
        let (authority, _) = rest.split_once('/')?;
        (text(header::HOST) == Some(authority)).then(|| session::local(&rest[authority.len()..]))
    }
}

/// What the browser has told of its clock, if it is one that there can be.
fn offset(request: &Request) -> TimeDelta {
    let minutes = session::cookie(request, session::OFFSET_COOKIE).and_then(|minutes| minutes.parse::<i64>().ok());
    TimeDelta::minutes(minutes.filter(|minutes| minutes.abs() <= FURTHEST_OFFSET).unwrap_or(0))
}

/// The language that was chosen, or else the one that the browser prefers.
pub(super) fn language(request: &Request) -> Language {
    let preferred = || {
        let header = request.header(header::ACCEPT_LANGUAGE.as_str())?;
        AcceptLanguage::from_text(header).map(|AcceptLanguage(language)| language)
    };
    let chosen = session::cookie(request, session::LANGUAGE_COOKIE).and_then(of_code);
    chosen.or_else(preferred).unwrap_or(Language::English)
}

/// The code of a language, in HTML as in the cookie.
pub(super) const fn code(language: Language) -> &'static str {
    match language {
        Language::Korean => "ko",
        Language::English => "en",
    }
}

pub(super) fn of_code(code: &str) -> Option<Language> {
    match code {
        "ko" => Some(Language::Korean),
        "en" => Some(Language::English),
        _ => None,
    }
}

fn unescaped(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_are_unescaped() {
        for (part, text) in [("ord_1", "ord_1"), ("a%2Fb", "a/b"), ("%ED%95%9C", "한"), ("%", "%"), ("%zz%4", "%zz%4")]
        {
            assert_eq!(unescaped(part), text);
        }
    }

    #[test]
    fn the_chosen_language_goes_before_the_browsers() {
        let asked = |cookie: &str, header: &str| {
            language(&Request::builder().header("cookie", cookie).header("accept-language", header).finish())
        };
        assert_eq!(asked("", "ko-KR,ko;q=0.9,en;q=0.8"), Language::Korean);
        assert_eq!(asked("a=b; jumun_language=en", "ko"), Language::English);
        assert_eq!(asked("jumun_language=fr", "ko"), Language::Korean);
        assert_eq!(language(&Request::default()), Language::English);
    }
}
