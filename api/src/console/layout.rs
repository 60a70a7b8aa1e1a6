//! What is around every page, and what pages have in common.

use maud::{DOCTYPE, Markup, html};
use poem::Response;
use poem::http::{StatusCode, header};
use workflows::{Role, Status};

use super::client::{Told, with_query};
use super::labels::{self, Label};
use super::text::Text;
use super::visit::{Visit, code};
use super::{Console, assets};

/// No code of a page is evaluated, nor is any of its style added by a script: what the policy forbids anyway.
const HTMX: &str = r#"{"allowEval":false,"allowScriptTags":false,"includeIndicatorStyles":false,"selfRequestsOnly":true,"historyCacheSize":0,"defaultSwapStyle":"outerHTML","responseHandling":[{"code":"[23]..","swap":true},{"code":"4..","swap":true,"error":false},{"code":"5..","swap":false,"error":true}]}"#;

/// A page and what is said of it.
pub(super) struct Page {
    pub status: StatusCode,
    pub title: String,
    pub content: Markup,
    /// The section that it belongs to, by its path.
    pub section: &'static str,
}

impl Page {
    pub(super) fn new(section: &'static str, title: impl Into<String>, content: Markup) -> Self {
        Self { status: StatusCode::OK, title: title.into(), content, section }
    }

    /// The same page, if it shows a problem with that problem's status.
    pub(super) fn troubled(self, trouble: Option<&Told>) -> Self {
        Self { status: trouble.map_or(self.status, |told| told.status), ..self }
    }

    pub(super) fn respond(self, console: &Console, visit: &Visit) -> Response {
        let status = self.status;
        respond(status, &self.whole(console, visit))
    }

    fn whole(&self, console: &Console, visit: &Visit) -> Markup {
        let language = visit.language;
        html! {
            (DOCTYPE)
            html lang=(code(language)) {
                head {
                    meta charset="utf-8";
                    title { (self.title) " · jumun" }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="htmx-config" content=(HTMX);
                    link rel="icon" type="image/svg+xml" href=(assets::path(assets::ICON));
                    link rel="stylesheet" href=(assets::path(assets::STYLE));
                    script src=(assets::path(assets::SCRIPT)) defer {}
                }
                body hx-ext="morph" {
                    a.skip href="#main" { (visit.say(Text::SkipToContent)) }
                    (self.head(console, visit))
                    main #main tabindex="-1" { (self.content) }
                }
            }
        }
    }

    fn head(&self, console: &Console, visit: &Visit) -> Markup {
        let sections = sections(console, visit);
        html! {
            header.top {
                a.brand href="/" { (mark()) span { "jumun" } }
                @if !sections.is_empty() {
                    nav aria-label=(visit.say(Text::Sections)) {
                        @for (path, text) in sections {
                            a href=(path) aria-current=[(path == self.section).then_some("page")] { (visit.say(text)) }
                        }
                    }
                }
                div.me {
                    @if let Some(session) = &visit.session {
                        span.who {
                            b { (session.caller.subject()) }
                            " "
                            span { (session.caller.role().label(visit.language)) }
                        }
                    }
                    (language_switch(visit))
                    @if visit.session.is_some() {
                        form method="post" action="/sign-out" {
                            (proof(visit))
                            button.plain { (visit.say(Text::SignOut)) }
                        }
                    }
                }
            }
        }
    }
}

/// The sections that are of use to whoever is signed in.
fn sections(console: &Console, visit: &Visit) -> Vec<(&'static str, Text)> {
    let Some(role) = visit.role() else { return Vec::new() };
    let place = console.local.then_some(("/place", Text::PlaceOrder));
    let sections = match role {
        Role::Operator => vec![
            Some(("/", Text::Board)),
            Some(("/stuck", Text::Stuck)),
            Some(("/merchants", Text::Merchants)),
            Some(("/dashboard", Text::Dashboard)),
            place,
        ],
        Role::Merchant => {
            vec![Some(("/", Text::Board)), Some(("/merchants", Text::MyShop)), Some(("/dashboard", Text::Dashboard))]
        }
        Role::Courier => vec![Some(("/", Text::MyDeliveries))],
        Role::Customer => vec![Some(("/", Text::MyOrders)), Some(("/merchants", Text::Merchants)), place],
    };
    sections.into_iter().flatten().collect()
}

fn language_switch(visit: &Visit) -> Markup {
    let other = match code(visit.language) {
        "ko" => "en",
        _ => "ko",
    };
    let back = if visit.method == "GET" { visit.here.as_str() } else { visit.came_from().unwrap_or("/") };
    html! {
        a.plain lang=(other) hreflang=(other) href=(with_query(&format!("/language/{other}"), &[("next", Some(back))])) {
            (visit.say(Text::OtherLanguage))
        }
    }
}

pub(super) fn respond(status: StatusCode, page: &Markup) -> Response {
    Response::builder().status(status).content_type("text/html; charset=utf-8").body(page.0.clone())
}

/// Where whoever has posted a form goes on.
pub(super) fn see(path: &str) -> Response {
    Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, path).finish()
}

/// What shows that a form is ours.
pub(super) fn proof(visit: &Visit) -> Markup {
    html! {
        @if let Some(session) = &visit.session {
            input type="hidden" name="proof" value=(session.proof());
        }
    }
}

/// The language of what the API says in words.
pub(super) const ENGLISH: &str = "en";

/// What went wrong, beside what was done.
pub(super) fn problem(visit: &Visit, told: &Told) -> Markup {
    html! {
        div.problem role="alert" {
            p { b { (labels::problem(told, visit.language)) } }
            // The API explains itself in English alone; what the console says is in the language of the page.
            p lang=[(!told.kind.is_empty()).then_some(ENGLISH)] { (told.detail) }
            @if let Some(seconds) = &told.retry_after {
                p { (Text::RetryIn.with(visit.language, &[seconds])) }
            }
        }
    }
}

/// The same, if there is something.
pub(super) fn problem_if(visit: &Visit, told: Option<&Told>) -> Markup {
    html! { @if let Some(told) = told { (problem(visit, told)) } }
}

/// That something went well.
pub(super) fn good(text: &str) -> Markup {
    html! { p.good role="status" { (text) } }
}

/// A status, by word and colour.
pub(super) fn status(status: Status, label: &str) -> Markup {
    html! { span class={ "status " (status.as_str()) } { (label) } }
}

/// A choice among values, each with what it is called.
pub(super) fn choice(name: &str, id: &str, chosen: &str, values: &[(&str, &str)]) -> Markup {
    html! {
        select name=(name) id=(id) {
            @for (value, text) in values {
                option value=(value) selected[*value == chosen] { (text) }
            }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            rect.mark-ground width="24" height="24" rx="6" {}
            path.mark-line d="M7 6.5h10M12 6.5v4M7.5 14.5a4.5 3.6 0 1 0 9 0a4.5 3.6 0 1 0-9 0" {}
        }
    }
}
